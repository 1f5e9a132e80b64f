"""Attacks that must fail: each on a real sandbox of level `full`.

What can harm nobody here is also done at level `rlimits`, where it must succeed when
that level does not claim to stop it; of the others the kernel's counters show that the
limit was reached. More of the same kind is in test_isolation.py and test_process.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Cause
from edge_agent.sandbox.probe import Probe

if TYPE_CHECKING:
    from edge_agent.sandbox.proxy import ProcessSandbox
    from tests.conftest import Agent
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench

pytestmark = pytest.mark.sandbox

FINE = "def main(args):\n    return {'fine': True}\n"


async def _others_are_served(bench: Bench) -> None:
    assert await bench.once(FINE) == {"fine": True}


def _counter(sandbox: ProcessSandbox, controller: str, name: str, key: str) -> int:
    group = sandbox._hold.group
    assert group is not None
    folder = group.pids if controller == "pids" else group.memory
    assert folder is not None
    lines = (line.split() for line in (folder / name).read_text().splitlines())
    return next(int(line[1]) for line in lines if line[0] == key)


# What the kernel counts


FORK_BOMB = """
import os, time
def main(args):
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
"""


@pytest.mark.blocks_loop
async def test_a_fork_bomb_reaches_its_limit_and_is_gone(open_bench: OpenBench) -> None:
    bench = await open_bench("full", processes=40)
    sandbox = await bench.ready(FORK_BOMB)
    ran = await bench.run(sandbox, timeout_s=0.5)
    assert bench.cause(ran) == Cause.TIMED_OUT
    assert _counter(sandbox, "pids", "pids.events", "max") > 0
    assert sandbox.exceeded() == "processes"
    group = sandbox._hold.group
    await sandbox.destroy()
    assert group is not None
    assert group.pids is not None
    assert not group.pids.exists()
    await _others_are_served(bench)


@pytest.mark.blocks_loop
async def test_a_memory_hog_is_killed_and_told_apart(held: Bench) -> None:
    hog = "def main(args):\n    kept = [b'x' * (1 << 20) for _ in range(4000)]\n"
    sandbox = await held.ready(hog)
    assert held.cause(await held.run(sandbox)) == Cause.OUT_OF_MEMORY
    v1 = _counter_file(sandbox)
    assert _counter(sandbox, "memory", v1, "oom_kill") > 0
    await sandbox.destroy()
    await _others_are_served(held)


def _counter_file(sandbox: ProcessSandbox) -> str:
    group = sandbox._hold.group
    assert group is not None
    return "memory.oom_control" if group.version == 1 else "memory.events"


@pytest.mark.parametrize("what", ["bytes", "files"])
async def test_a_full_tmp_is_the_sandboxes_own(
    open_bench: OpenBench, what: str
) -> None:
    code = (
        "def main(args):\n"
        "    n = 0\n"
        "    while True:\n"
        "        n += 1\n"
        "        with open(f'/tmp/{n}', 'wb') as f: f.write(bytes(args['size']))\n"
    )
    bench = await open_bench("full", tmp_mb=4)
    sandbox = await bench.ready(code)
    size = {"bytes": 1 << 20, "files": 0}[what]
    answer = bench.result(await bench.run(sandbox, {"size": size}))
    assert "No space left on device" in answer["error"]
    assert sandbox.exceeded() == "disk"
    await _others_are_served(bench)


async def test_an_endless_loop_that_ignores_signals_is_ended(bench: Bench) -> None:
    code = (
        "import signal\n"
        "def main(args):\n"
        "    for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):"
        " signal.signal(n, signal.SIG_IGN)\n"
        "    while True: pass\n"
    )
    begun = time.monotonic()
    ran = await bench.run(await bench.ready(code), timeout_s=0.3)
    assert bench.cause(ran) == Cause.TIMED_OUT
    assert time.monotonic() - begun < 2
    await _others_are_served(bench)


# What the filter and the capabilities refuse


SYSTEM_CALL = """
import ctypes, os
def main(args):
    libc = ctypes.CDLL(None, use_errno=True)
    if args.get('child'):
        pid = os.fork()
        if not pid:
            import time; time.sleep(5); os._exit(0)
        args['with'][1] = pid
    rest = [ctypes.c_long(each) for each in args['with']]
    done = libc.syscall(ctypes.c_long(args['number']), *rest)
    return {'done': done != -1, 'why': os.strerror(ctypes.get_errno())}
"""
#: name -> number on x86-64 and arguments that the kernel would take.
REFUSED = {
    "unshare": (272, [0x1000_0000]),
    "mount": (165, [0, 0, 0, 0, 0]),
    "bpf": (321, [0, 0, 0]),
    "perf_event_open": (298, [0, 0, -1, -1, 0]),
    "userfaultfd": (323, [0]),
    "keyctl": (250, [0, -3, 0]),
    "io_uring_setup": (425, [1, 0]),
    "kexec_load": (246, [0, 0, 0, 0]),
    "init_module": (175, [0, 0, 0]),
    "process_vm_readv": (310, [1, 0, 0, 0, 0, 0]),
    "personality": (135, [0x0040000]),
    "clone": (56, [0x1000_0000 | 17, 0, 0, 0, 0]),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_calls_that_reach_for_the_kernel_are_refused(
    held: Bench, name: str
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86-64; the filter of others is tested by itself")
    number, arguments = REFUSED[name]
    answer = await held.once(SYSTEM_CALL, {"number": number, "with": arguments})
    assert answer == {"done": False, "why": "Operation not permitted"}


async def test_a_child_cannot_be_traced(open_bench: OpenBench) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86-64")
    seize = {"number": 101, "with": [0x4206, 0, 0, 0], "child": True}
    held, plain = await open_bench("full"), await open_bench("rlimits")
    assert not (await held.once(SYSTEM_CALL, seize))["done"]
    assert (await plain.once(SYSTEM_CALL, seize))["done"]


async def test_without_the_filter_io_uring_is_the_kernels_to_give(
    open_bench: OpenBench,
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86-64")
    plain = await open_bench("rlimits")
    answer = await plain.once(SYSTEM_CALL, {"number": 425, "with": [1, 0]})
    assert answer["why"] != "Operation not permitted"  # it was the filter elsewhere


async def test_what_programs_need_is_not_refused(held: Bench) -> None:
    code = (
        "import asyncio, concurrent.futures, multiprocessing, socket, subprocess, threading\n"
        "def main(args):\n"
        "    with concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "        squares = list(pool.map(lambda n: n * n, range(4)))\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        lengths = pool.map(len, ['a', 'bb'])\n"
        "    out = subprocess.check_output(['sh', '-c', 'echo $((6 * 7))'], text=True)\n"
        "    a, b = socket.socketpair(); a.send(b'x'); b.recv(1); a.close(); b.close()\n"
        "    asyncio.run(asyncio.sleep(0))\n"
        "    return {'squares': squares, 'lengths': lengths, 'out': out}\n"
    )
    expected = {"squares": [0, 1, 4, 9], "lengths": [1, 2], "out": "42\n"}
    assert await held.once(code) == expected


@pytest.mark.node
async def test_what_node_needs_is_not_refused(held: Bench) -> None:
    code = (
        "const { execFileSync } = require('child_process')\n"
        "const { Worker } = require('worker_threads')\n"
        "function main () { return new Promise((done, fail) => {\n"
        "  const worker = new Worker(\"require('worker_threads').parentPort.postMessage(1)\","
        " { eval: true })\n"
        "  worker.on('error', fail)\n"
        "  worker.on('message', n => done({ n, out: execFileSync('echo', ['hi']).toString() }))\n"
        "}) }"
    )
    assert await held.once(code, family="nodejs") == {"n": 1, "out": "hi\n"}


#: What root may do without harm to anybody, and no action.
HARMLESS = {
    "mount": "os.mkdir('m'); call(libc.mount(b'x', b'm', b'tmpfs', 0, None));"
    " call(libc.umount2(b'm', 2))",
    "make a device": "os.mknod('d', 0o600 | stat.S_IFCHR, os.makedev(1, 3))",
    "have another root": "os.chroot('.')",
    "name the host": "socket.sethostname(socket.gethostname())",
    "have a namespace": "call(libc.unshare(0x0400_0000))",
    "have another personality": "call(libc.personality(0x0040000))",
    "write to the system": "open('/usr/edgewhisk-test', 'w').close();"
    " os.unlink('/usr/edgewhisk-test')",
}
TRY = """
import ctypes, os, socket, stat, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result == -1: raise OSError(ctypes.get_errno(), 'refused')
def main(args):
    os.chdir(tempfile.mkdtemp())
    try: exec(args['attempt'])
    except OSError as error: return {'refused': True}
    return {'done': True}
"""


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_root_may_do_no_action_does_unless_it_is_root(
    open_bench: OpenBench, name: str
) -> None:
    """At `rlimits` an agent that is root and has no users to spare lends its own."""
    attempt = {"attempt": HARMLESS[name]}
    held = await open_bench("full")
    assert await held.once(TRY, attempt) == {"refused": True}
    outside = f"{TRY}\nprint(main({attempt!r}))"
    asked = await asyncio.to_thread(
        lambda: subprocess.run(
            ["/usr/bin/python3", "-c", outside], capture_output=True, check=True
        )
    )
    if b"refused" in asked.stdout:
        pytest.skip("this machine refuses it to us, too")
    plain = await open_bench("rlimits")
    assert await plain.once(TRY, attempt) == {"done": True}


# Neighbours and the agent


NEIGHBOURS = """
import glob, os
def main(args):
    found = {'first': [], 'secret': False, 'sockets': []}
    for path in glob.glob('/proc/[0-9]*'):
        for name in ('environ', 'mem', 'root/action/main__.py', 'fd/3'):
            try:
                if path.endswith(f'/{os.getpid()}'): continue
                with open(f'{path}/{name}', 'rb') as file: file.read(1)
                found['first'].append(f'{path}/{name}')
            except OSError: pass
    for folder, _, files in os.walk('/run'):
        found['sockets'] += [f for f in files if 'sock' in f or f.endswith('.db')]
    try:
        for name in glob.glob('/action/*') + glob.glob('/tmp/*'):
            found['secret'] |= 'SEC' + 'RET' in open(name).read()
    except OSError: pass
    return found
"""


async def test_a_neighbours_code_folder_environment_and_memory_are_out_of_reach(
    held: Bench,
) -> None:
    victim = await held.ready(
        "SECRET = 1\ndef main(args):\n    open('/tmp/x', 'w').write('SECRET')\n    return {}\n",
        env={"__OW_API_KEY": "SECRET"},
    )
    await held.run(victim)
    found = await held.once(NEIGHBOURS)
    assert found == {"first": [], "secret": False, "sockets": []}


async def test_a_neighbour_of_level_rlimits_can_be_read(open_bench: OpenBench) -> None:
    plain = await open_bench("rlimits")
    victim = await plain.ready(FINE)
    code = (
        "def main(args):\n    return {'length': len(open(args['path'], 'rb').read())}\n"
    )
    path = f"/proc/{victim.pid}/environ"
    assert (await plain.once(code, {"path": path}))["length"] > 0


STEAL = """
import os
def main(args):
    found = []
    for path in args['paths']:
        try: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').close()
        except OSError: continue
        found.append(path)
    try: os.kill(args['agent'], 0); found.append('agent')
    except OSError: pass
    try: os.setuid(0); found.append('root')
    except OSError: pass
    return {'user': os.getuid(), 'groups': os.getgroups(), 'found': found}
"""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs an agent that is root")


@AS_ROOT
async def test_at_level_rlimits_the_agents_root_is_no_action(
    open_bench: OpenBench, tmp_path: Path
) -> None:
    bench = await open_bench("rlimits", probe=Probe(own_users=True))
    key = tmp_path / "node.key"
    key.write_bytes(b"key")
    key.chmod(0o600)
    victim = await bench.ready(FINE)
    home = f"/proc/{victim.pid}/cwd"
    wanted = [str(key), str(tmp_path), "/etc/shadow", "/root"]
    wanted += [f"/proc/{os.getpid()}/environ", f"/proc/{victim.pid}/environ", home]
    wanted += [str(path) for path in bench.factory.folder.glob("*-*")]
    given = {"paths": wanted, "agent": os.getpid()}
    first, second = await bench.once(STEAL, given), await bench.once(STEAL, given)
    assert first["found"] == second["found"] == []
    assert first["groups"] == []
    assert 0 != first["user"] != second["user"] != 0


@AS_ROOT
async def test_a_user_of_its_own_is_as_good_to_an_action(open_bench: OpenBench) -> None:
    bench = await open_bench("rlimits", probe=Probe(own_users=True))
    code = (
        "import os, tempfile\ndef main(args):\n"
        "    open('here', 'w').write('x'); open('/dev/stdout', 'w').write('said')\n"
        "    with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "    return {'here': os.listdir('.'), 'home': os.environ['HOME'] == os.getcwd()}\n"
    )
    found = await bench.once(code)
    assert "here" in found["here"]
    assert found["home"]


REACH = """
import os, socket
def main(args):
    found = []
    for path in args['paths']:
        try: open(path, 'rb').close(); found.append(path)
        except OSError: pass
    try: socket.create_connection(('127.0.0.1', args['port']), 1).close(); found.append('port')
    except OSError: pass
    return {'found': found}
"""


def test_the_agents_files_and_sockets_are_out_of_reach_without_a_network(
    agent_factory: Any,
) -> None:
    agent = agent_factory(settings='[sandbox]\nminimum_level = "rlimits"\n')
    files = [str(path) for path in agent.data.iterdir() if path.is_file()]
    assert files
    port = int(agent.url.rpartition(":")[2])
    wanted = {
        "paths": [*files, f"/proc/{agent.pid}/environ", "/root/.ssh"],
        "port": port,
    }
    assert _invoke(agent, REACH, wanted)[1]["result"] == {"found": ["port"]}
    narrowed = [{"key": "sandbox-network", "value": "none"}]
    record = _invoke(agent, REACH, wanted, annotations=narrowed)
    assert record[1]["result"] == {"found": []}
    widened = [{"key": "sandbox-network", "value": "host"}]
    closed = agent_factory(
        settings='[sandbox]\nminimum_level = "rlimits"\nnetwork = "none"\n'
    )
    wanted = {"paths": [], "port": int(closed.url.rpartition(":")[2])}
    record = _invoke(closed, REACH, wanted, annotations=widened)
    assert record[1]["result"] == {"found": []}


# What the record says


def _invoke(
    agent: Agent, code: str, arguments: Any = None, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Annotations and response of one activation of a new action."""
    body = {"exec": {"kind": "python:default", "code": code}, **more}
    _call(agent, "PUT", "actions/attack?overwrite=true", body)
    record = _call(agent, "POST", "actions/attack?blocking=true", arguments or {})
    return {a["key"]: a["value"] for a in record["annotations"]}, record["response"]


def _call(agent: Agent, method: str, path: str, body: Any) -> dict[str, Any]:
    key = base64.b64encode(agent.key.encode()).decode()
    request = urllib.request.Request(
        f"{agent.url}/api/v1/namespaces/_/{path}",
        method=method,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            told: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            told = json.loads(error.read())
    return told


FILL = "def main(args):\n    open('/tmp/x', 'wb').write(bytes(200 << 20))\n"
FORKS = (
    "import os, time\ndef main(args):\n    for _ in range(500):\n"
    "        if not os.fork(): time.sleep(9); os._exit(0)\n"
)
HOG = "def main(args):\n    kept = [b'x' * (1 << 20) for _ in range(4000)]\n"
LOOP = "def main(args):\n    while True: pass\n"


def test_the_record_says_which_limit_was_reached_and_the_agent_serves_on(
    agent_factory: Any,
) -> None:
    agent = agent_factory(
        settings='[sandbox]\nminimum_level = "full"\nprocesses = 64\n'
    )
    limits = {"timeout": 300, "memory": 256}
    told, response = _invoke(agent, LOOP, limits=limits)
    assert told["timeout"] is True
    assert "limitExceeded" not in told
    assert response["result"]["error"] == (
        "The action exceeded its time limits of 300 milliseconds."
    )
    limits["timeout"] = 15_000  # what stands is kept when none is sent
    told, response = _invoke(agent, HOG, limits=limits)
    assert told["limitExceeded"] == "memory"
    assert (
        response["result"]["error"]
        == "The action exhausted its memory and was aborted."
    )
    for code, limit in ((FILL, "disk"), (FORKS, "processes")):
        told, response = _invoke(agent, code)
        assert told["limitExceeded"] == limit
        assert response["status"] == "application error"
    told, response = _invoke(agent, FINE)
    assert response["result"] == {"fine": True}
    assert "limitExceeded" not in told
    assert told["isolation"] == "full"


FORGERY = """
import sys
def main(args):
    for stream in (sys.stdout, sys.stderr):
        print('XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX', file=stream)
        print('after', file=stream)
    return {'fine': True}
"""


async def test_a_forged_log_sentinel_is_a_line_like_others(bench: Bench) -> None:
    sandbox = await bench.ready(FORGERY)
    for _ in range(2):
        ran = await bench.run(sandbox)
        for stream in ("stdout", "stderr"):
            assert bench.texts(ran, stream)[-1] == "after"
            assert len(bench.texts(ran, stream)) == 2


# Zips


@pytest.mark.parametrize(
    "name", ["../out.py", "/etc/cron", "a/../../out", "a\\..\\out"]
)
async def test_a_zip_with_a_path_out_of_the_action_is_refused(
    bench: Bench, name: str
) -> None:
    code = bench.zipped({"__main__.py": FINE, name: "x"})
    ran = await bench.refused(code, binary=True)
    assert "path outside the action" in "\n".join(ran.logs)


async def test_links_in_a_zip_lead_nowhere(held: Bench, tmp_path: Path) -> None:
    """A link is unpacked as a small file by Python; in no case it opens the target."""
    import io
    import stat
    import zipfile

    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "__main__.py", "def main(args):\n    return {'read': open('link').read()}\n"
        )
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(secret))
    code = base64.b64encode(buffer.getvalue()).decode()
    answer = await held.once(code, binary=True)
    assert "SECRET" not in str(answer)
