"""The fork server: what its children share, and what becomes of them when it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Cause
from edge_agent.sandbox.fork_server import ForkedChild, Parked
from edge_agent.sandbox.fork_starter import PATIENCE, ForkStarter
from edge_agent.sandbox.spawn import raise_descriptors

if TYPE_CHECKING:
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench

pytestmark = pytest.mark.sandbox

ECHO = "def main(args):\n    return args\n"
CHANCE = """
import os, random, secrets, uuid
def main(args):
    found = [random.random(), str(uuid.uuid4()), secrets.token_hex(8), os.urandom(8).hex()]
    try:
        import numpy
        found.append(float(numpy.random.random()))
    except ImportError: pass
    return {'found': found}
"""


def starter_of(bench: Bench) -> ForkStarter:
    starter = bench.factory._starter
    assert isinstance(starter, ForkStarter)
    return starter


def server_pid(bench: Bench) -> int:
    server = starter_of(bench)._server
    assert server is not None
    return server.process.pid


@pytest.mark.timeout(60)
async def test_200_cold_starts_at_once_succeed_and_share_no_chance(held: Bench) -> None:
    async def one() -> list[Any]:
        sandbox = await held.ready(CHANCE)
        found: list[Any] = held.result(await held.run(sandbox))["found"]
        await sandbox.destroy()
        return found

    columns = list(
        zip(*await asyncio.gather(*(one() for _ in range(200))), strict=True)
    )
    assert [len(set(column)) for column in columns] == [200] * len(columns)


SPOIL = """
import builtins, json, os, signal, sys
def main(args):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    builtins.len = json.loads = os.fork = os.execve = None
    sys.modules['os'] = sys.modules['json'] = None
    for name in list(vars(sys.modules['__main__'])):
        if not name.startswith('__'): vars(sys.modules['__main__'])[name] = None
    for fd in range(5, 1024):
        try: os.write(fd, b'x'); os.close(fd)
        except OSError: pass
    return {}
"""
LOOK = """
import builtins, json, os, signal
def main(args):
    return {'len': builtins.len([1]), 'fork': os.fork is not None,
            'json': json.loads('1'), 'blocked': list(signal.pthread_sigmask(0, [])),
            'term': signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
            'fds': sorted(int(fd) for fd in os.listdir('/proc/self/fd'))}
"""


async def test_a_child_cannot_spoil_the_server_for_others(held: Bench) -> None:
    before = await held.once(LOOK)
    server = server_pid(held)
    for _ in range(3):
        assert await held.once(SPOIL) == {}
    assert await held.once(LOOK) == before
    assert before["fds"][:5] == [0, 1, 2, 3, 4]
    assert len(before["fds"]) == 6  # and the folder that is being listed
    assert server_pid(held) == server


async def test_an_action_finds_its_own_modules_first(held: Bench) -> None:
    code = held.zipped(
        {
            "__main__.py": "import python, ctypes\ndef main(args):\n"
            "    return {'mine': [python.mine, ctypes.mine]}\n",
            **{f"{name}.py": "mine = 1\n" for name in ("python", "ctypes")},
        }
    )
    assert await held.once(code, binary=True) == {"mine": [1, 1]}


async def test_a_dead_server_takes_its_sandboxes_along_and_is_replaced(
    held: Bench,
) -> None:
    sandbox = await held.ready("import time\ndef main(args):\n    time.sleep(60)\n")
    running = asyncio.ensure_future(held.run(sandbox))
    await asyncio.sleep(0.05)
    before, server = server_pid(held), starter_of(held)._server
    assert server is not None
    os.kill(before, signal.SIGKILL)
    await asyncio.wait_for(server.gone.wait(), 5)
    assert held.cause(await running) == Cause.EXITED
    await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)
    for _ in range(3):
        assert await held.once(ECHO, {"n": 1}) == {"n": 1}
    assert server_pid(held) != before
    assert not starter_of(held).trouble


async def test_parked_children_that_died_are_not_used(held: Bench) -> None:
    await held.once(ECHO)
    starter = starter_of(held)
    while len(starter._parked) < 2:
        await asyncio.sleep(0.01)
    for parked in starter._parked:
        os.kill(parked.child.pid, signal.SIGKILL)
    for _ in range(3):
        assert await held.once(ECHO, {"n": 1}) == {"n": 1}


async def test_without_a_server_sandboxes_are_started_by_bubblewrap(
    held: Bench,
) -> None:
    os.kill(server_pid(held), signal.SIGKILL)
    (held.factory.folder / "launchers/python_fork.pyc").write_bytes(b"nothing")
    for _ in range(PATIENCE + 1):
        assert await held.once(ECHO, {"n": 1}) == {"n": 1}
    assert starter_of(held).trouble
    assert held.factory.level == "full"


async def test_cancelled_creates_leave_no_child_behind(held: Bench) -> None:
    await (await held.create()).destroy()
    for delay_s in (0.0, 0.001, 0.002, 0.003, 0.005):
        creating = [asyncio.ensure_future(held.create()) for _ in range(4)]
        await asyncio.sleep(delay_s)
        for each in creating:
            each.cancel()
        await asyncio.wait(creating)
        for each in creating:
            if not each.cancelled():
                await each.result().destroy()
    starter = starter_of(held)
    for _ in range(200):
        if len(held.factory.live) == 0 and len(_inits(held)) == len(starter._parked):
            break
        await asyncio.sleep(0.02)
    assert len(_inits(held)) == len(starter._parked)


def _inits(bench: Bench) -> list[int]:
    """The first processes of sandboxes: children of the server itself."""
    found = []
    with suppress(OSError):
        inner = Path(f"/proc/{server_pid(bench)}/task/{server_pid(bench)}/children")
        (first,) = map(int, inner.read_text().split())
        listed = Path(f"/proc/{first}/task/{first}/children").read_text()
        found = list(map(int, listed.split()))
    return found


async def test_a_parked_child_has_the_network_that_is_wanted_now(
    open_bench: OpenBench,
) -> None:
    code = (
        "import socket\ndef main(args):\n"
        "    return {'names': [name for _, name in socket.if_nameindex()]}\n"
    )
    bench = await open_bench("full", network="host")
    everything = (await bench.once(code))["names"]
    bench.factory.network = False
    assert (await bench.once(code))["names"] == ["lo"]
    bench.factory.network = True
    assert (await bench.once(code))["names"] == everything


async def test_a_network_of_ones_own_has_a_loopback(open_bench: OpenBench) -> None:
    code = (
        "import socket\ndef main(args):\n"
        "    with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "        socket.create_connection(server.getsockname(), 2).close()\n"
        "    return {}\n"
    )
    bench = await open_bench("full", network="none")
    assert await bench.once(code) == {}


AS_SOMEBODY = """
import asyncio
from edge_agent import settings
from edge_agent.sandbox.base import InitRequest, RunRequest, SandboxSpec
from edge_agent.sandbox.process import ProcessFactory
CODE = '''
import os
def main(args):
    told = open('/proc/self/status').read()
    return {'uid': os.getuid(), 'caps': 'CapEff:\\\\t0000000000000000' in told,
            'pids': len([p for p in os.listdir('/proc') if p.isdigit()])}
'''
async def main():
    factory = await ProcessFactory.open(settings.Sandboxing(), settings.Runtimes())
    sandbox = await factory.create(SandboxSpec(factory.resolve('python:default'), 256))
    init = InitRequest(name='a', main='main', code=CODE, binary=False, env={})
    await sandbox.init(init, timeout_s=9, logs_bytes=0)
    ran = await sandbox.run(RunRequest(b'{}', {}), timeout_s=9, logs_bytes=0)
    print(ran.said.body.decode(), factory._starter.trouble or 'forked')
    await factory.close()
asyncio.run(main())
"""


def test_an_agent_that_is_an_ordinary_user_forks_too(tmp_path: Path) -> None:
    """As on a Pi: no capability, no new privileges, a user namespace for each child."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python, setpriv = (
        shutil.which(f"python{version}", path="/usr/bin"),
        "/usr/bin/setpriv",
    )
    if os.geteuid() != 0 or python is None or not Path(setpriv).exists():
        pytest.skip("needs root, and the interpreter of the tests as the system's own")
    packages = next(p for p in sys.path if p.endswith("site-packages"))
    somebody = ["--reuid=54321", "--regid=54321", "--clear-groups", "--no-new-privs"]
    done = subprocess.run(
        [
            setpriv,
            *somebody,
            "--bounding-set=-all",
            "--inh-caps=-all",
            python,
            "-c",
            AS_SOMEBODY,
        ],
        env={
            "PYTHONPATH": f"{Path(__file__).parents[3]}:{packages}",
            "PATH": os.environ["PATH"],
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.stdout == '{"uid":1000,"caps":true,"pids":2} forked\n', done.stderr


def test_a_parked_child_may_have_a_high_descriptor() -> None:
    """With 200 sandboxes an agent has more than 1023, and `select` takes no more."""
    ours, theirs = socket.socketpair()
    raise_descriptors()
    high = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500))
    ours.close()
    parked = Parked(high, ForkedChild(0, -1), network=True)
    assert parked.alive
    theirs.close()
    assert not parked.alive
    high.close()


@pytest.mark.node
async def test_node_starts_in_a_namespace_that_stands_ready(held: Bench) -> None:
    code = (
        "const fs = require('fs')\n"
        "function main () { return { cmd: fs.readFileSync('/proc/1/cmdline', 'utf8'),"
        " uid: process.getuid(), home: process.env.HOME,"
        " odd: Object.keys(process.env).filter(k => k.startsWith('MALLOC')),"
        " cores: process.report.getReport().userLimits.core_file_size_blocks.soft } }"
    )
    found = await held.once(code, family="nodejs")
    assert "python_fork" in found["cmd"]
    assert (found["uid"], found["home"], found["odd"]) == (1000, "/action", [])
    assert str(found["cores"]) == "0"
