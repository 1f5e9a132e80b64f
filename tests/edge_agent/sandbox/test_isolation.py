"""What code in a sandbox cannot reach at level `namespaces`, and that `rlimits` claims less.

Each attack that is harmless here is also made at level `rlimits`, where it must succeed:
an attack that fails everywhere would prove nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench

pytestmark = pytest.mark.sandbox

READ = """
def main(args):
    try: return {'read': open(args['path']).read()}
    except OSError as error: return {'failed': type(error).__name__}
"""
WRITE = """
import os
def main(args):
    try: open(args['path'], 'w').write('x')
    except OSError as error: return {'failed': type(error).__name__}
    os.unlink(args['path'])
    return {'written': True}
"""


async def test_files_of_the_machine_are_not_there(
    open_bench: OpenBench, tmp_path: Path
) -> None:
    secret = tmp_path / "state.db"
    secret.write_text("key")
    secret.chmod(0o644)
    held, plain = await open_bench("full"), await open_bench("rlimits")
    arguments = {"path": str(secret)}
    assert await held.once(READ, arguments) == {"failed": "FileNotFoundError"}
    assert await plain.once(READ, arguments) == {"read": "key"}


@pytest.mark.parametrize(
    "path", ["/root", "/home", "/var", "/sys", "/boot", "/mnt", "/opt", "/dev/mem"]
)
async def test_the_machine_has_only_what_code_needs(held: Bench, path: str) -> None:
    code = (
        "import os\ndef main(args):\n    return {'there': os.path.exists(args['p'])}\n"
    )
    assert await held.once(code, {"p": path}) == {"there": False}


@pytest.mark.parametrize(
    "path",
    [
        "/usr/x",
        "/etc/passwd",
        "/x",
        "/bin/x",
        "/proc/sys/kernel/hostname",
        "/run/edgewhisk/python.pyc",
        "/dev/x",
    ],
)
async def test_the_system_cannot_be_written(held: Bench, path: str) -> None:
    assert "failed" in await held.once(WRITE, {"path": path})


async def test_rlimits_does_not_claim_to_protect_files(
    open_bench: OpenBench, tmp_path: Path
) -> None:
    plain = await open_bench("rlimits")
    answer = await plain.once(WRITE, {"path": str(tmp_path / "x")})
    assert answer == {"written": True}


async def test_each_sandbox_has_folders_of_its_own(held: Bench) -> None:
    code = (
        "import os\ndef main(args):\n"
        "    for d in ('/tmp', '/action', '/dev/shm'):\n"
        "        open(d + '/mine', 'a').write(args['who'])\n"
        "    return {'tmp': open('/tmp/mine').read(), 'here': os.getcwd(),"
        " 'home': os.path.expanduser('~')}\n"
    )
    one, two = await held.ready(code), await held.ready(code)
    first = held.result(await held.run(one, {"who": "1"}))
    second = held.result(await held.run(two, {"who": "2"}))
    assert first == {"tmp": "11", "here": "/action", "home": "/action"}
    assert second["tmp"] == "22"


async def test_folders_have_a_size(held: Bench) -> None:
    code = (
        "def main(args):\n"
        "    written = 0\n"
        "    try:\n"
        "        for n in range(200):\n"
        "            with open(args['in'] + f'/{n}', 'wb') as f: written += f.write(bytes(1 << 20))\n"
        "    except OSError as error: return {'mb': written >> 20, 'why': error.strerror}\n"
        "    return {'mb': written >> 20}\n"
    )
    sandbox = await held.ready(code)
    for folder in ("/tmp", "/action"):
        answer = held.result(await held.run(sandbox, {"in": folder}))
        assert answer["why"] == "No space left on device"
        assert answer["mb"] <= 64


async def test_other_processes_are_not_seen(open_bench: OpenBench) -> None:
    code = (
        "import os\ndef main(args):\n"
        "    pids = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "    try: os.kill(args['pid'], 0); reached = True\n"
        "    except OSError: reached = False\n"
        "    return {'pids': len(pids), 'reached': reached}\n"
    )
    held, plain = await open_bench("full"), await open_bench("rlimits")
    arguments = {"pid": os.getpid()}
    assert await held.once(code, arguments) == {"pids": 2, "reached": False}
    assert (await plain.once(code, arguments))["reached"]


async def test_nothing_of_the_agents_environment_is_inherited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET", "key")
    code = "import os\ndef main(args):\n    return {'names': sorted(os.environ)}\n"
    names = set((await bench.once(code))["names"])
    own = {"HOME", "LANG", "PATH", "PWD", "PYTHONIOENCODING", "TMPDIR"}
    assert {name for name in names if not name.startswith("__OW_")} - own <= {
        "EDGEWHISK_SANDBOX"
    }


async def test_no_privilege_is_left(held: Bench) -> None:
    code = (
        "def main(args):\n"
        "    return dict(line.split(':\\t') for line in"
        " open('/proc/self/status').read().splitlines() if ':\\t' in line)\n"
    )
    status = await held.once(code)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split() == ["1000"] * 4


async def test_outside_code_runs_as_nobody_even_when_the_agent_is_root(
    held: Bench,
) -> None:
    if not held.factory.probe.nobody:
        pytest.skip("the agent is not root here")
    users = set()
    for _ in range(2):
        sandbox = await held.create()
        users.add(_user_of(sandbox.pid))
    assert len(users) == 2
    assert min(users) > 2_000_000_000


def _user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@pytest.mark.parametrize(
    "attempt",
    [
        "subprocess.run(['mount', '-t', 'tmpfs', 'x', '/tmp'], check=True)",
        "subprocess.run(['unshare', '-m', 'umount', '/etc'], check=True)",
        "os.mknod('/tmp/sda', 0o600 | stat.S_IFBLK, os.makedev(8, 0))",
        "os.setuid(0)",
        "os.chroot('/tmp')",
        "socket.sethostname('x')",
    ],
)
async def test_privileged_calls_fail(held: Bench, attempt: str) -> None:
    code = (
        "import os, socket, stat, subprocess\n"
        "def main(args):\n"
        f"    try: {attempt}\n"
        "    except (OSError, subprocess.CalledProcessError): return {'failed': True}\n"
        "    return {}\n"
    )
    assert await held.once(code) == {"failed": True}


CONNECT = """
import socket
def main(args):
    try: socket.create_connection(('127.0.0.1', args['port']), 2).close()
    except OSError: return {'connected': False}
    return {'connected': True}
"""


async def test_the_network_is_there_or_not_as_settings_say(held: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = {"port": server.getsockname()[1]}
        assert await held.once(CONNECT, arguments) == {"connected": True}
        held.factory.network = False
        assert await held.once(CONNECT, arguments) == {"connected": False}


async def test_one_tenant_has_the_hosts_network_and_several_have_none(
    open_bench: OpenBench,
) -> None:
    bench = await open_bench("full", network="auto")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = {"port": server.getsockname()[1]}
        for tenants, connected in ((1, True), (2, False), (3, False), (1, True)):
            bench.factory.share_network(tenants=tenants)
            assert await bench.once(CONNECT, arguments) == {"connected": connected}
    assert not bench.factory.share_network(tenants=1)
    assert bench.factory.share_network(tenants=2)
    wanted = await open_bench("full", network="host")
    assert not wanted.factory.share_network(tenants=5)


async def test_processes_are_counted(held: Bench) -> None:
    code = (
        "import os, time\n"
        "def main(args):\n"
        "    made = 0\n"
        "    try:\n"
        "        for _ in range(400):\n"
        "            if os.fork() == 0: time.sleep(30); os._exit(0)\n"
        "            made += 1\n"
        "    except OSError: pass\n"
        "    return {'made': made}\n"
    )
    made = (await held.once(code))["made"]
    assert made < 260
    assert await held.once("def main(args):\n    return {}\n") == {}


async def test_descriptors_are_counted(bench: Bench) -> None:
    code = (
        "def main(args):\n"
        "    kept = []\n"
        "    try:\n"
        "        for _ in range(100000): kept.append(open('/dev/null'))\n"
        "    except OSError: pass\n"
        "    return {'opened': len(kept)}\n"
    )
    assert (await bench.once(code))["opened"] < 1024


async def test_what_libraries_need_is_there(held: Bench) -> None:
    code = (
        "import multiprocessing, os, pwd, random, socket, ssl, tempfile, time, uuid\n"
        "def main(args):\n"
        "    with multiprocessing.Lock(): pass\n"
        "    with tempfile.TemporaryFile() as f: f.write(b'x')\n"
        "    print('a', file=open('/dev/stdout', 'w'))\n"
        "    return {'user': pwd.getpwuid(os.getuid()).pw_name,"
        " 'host': socket.gethostbyname('localhost'),"
        " 'certificates': len(ssl.create_default_context().get_ca_certs()) > 0,"
        " 'random': len(os.urandom(4)), 'id': str(uuid.uuid4()) != ''}\n"
    )
    answer: dict[str, Any] = await held.once(code)
    has_certificates = Path("/etc/ssl/certs/ca-certificates.crt").exists()
    assert answer == {
        "user": "action",
        "host": "127.0.0.1",
        "certificates": has_certificates,
        "random": 4,
        "id": True,
    }


AGENT = """
import asyncio, os, sys
from edge_agent import settings
from edge_agent.sandbox.base import InitRequest, RunRequest, SandboxSpec
from edge_agent.sandbox.probe import Probe
from edge_agent.sandbox.process import ProcessFactory
async def main():
    own = Probe(own_users=os.geteuid() == 0)
    probe = own if sys.argv[1] == 'rlimits' else None
    factory = await ProcessFactory.open(
        settings.Sandboxing(minimum_level='rlimits'), settings.Runtimes(), probe=probe)
    sandbox = await factory.create(SandboxSpec(factory.resolve('python:default'), 256))
    code = ('import os\\ndef main(args):\\n    os.set_inheritable(3, True)\\n'
            '    os.execvp("sleep", ["sleep", "54321"])')
    init = InitRequest(name='a', main='main', code=code, binary=False, env={})
    await sandbox.init(init, timeout_s=9, logs_bytes=0)
    running = sandbox.run(RunRequest(b'{}', {}), timeout_s=99, logs_bytes=0)
    await asyncio.sleep(0.2)
    print(factory.folder, flush=True)
    await running
asyncio.run(main())
"""


@pytest.mark.parametrize("level", ["full", "rlimits"])
async def test_sandboxes_die_with_an_agent_that_is_killed(
    open_bench: OpenBench, level: str
) -> None:
    process = await asyncio.to_thread(_start_agent, level)
    folder = await asyncio.to_thread(_first_line, process)
    bench = await open_bench(level)
    assert len(await bench.processes("sleep\0" + "54321")) == 1
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    assert await bench.processes("sleep\0" + "54321", until=0) == []
    assert Path(folder).exists()
    await open_bench(level)
    assert not Path(folder).exists()


def _start_agent(level: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", AGENT, level]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.readline().strip()
