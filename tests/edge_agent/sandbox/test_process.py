"""The driver's promises: time limits, deaths, floods, big payloads, nothing left over."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent import settings
from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.model.errors import SettingsError
from edge_agent.sandbox.base import SandboxError, SandboxSpec
from edge_agent.sandbox.probe import Finding, Probe
from edge_agent.sandbox.process import ProcessFactory

if TYPE_CHECKING:
    from edge_agent.sandbox.base import SandboxFactory
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench

ECHO = "def main(args):\n    return args\n"
SLEEP = (
    "import time\ndef main(args):\n    time.sleep(args.get('s', 60))\n    return {}\n"
)


def _is_a_factory(factory: ProcessFactory) -> SandboxFactory:
    return factory


# Time


async def test_a_run_out_of_time_is_gone_and_the_sandbox_dead(bench: Bench) -> None:
    sandbox = await bench.ready(SLEEP)
    begun = time.monotonic()
    ran = await bench.run(sandbox, timeout_s=0.2)
    assert bench.cause(ran) == Cause.TIMED_OUT
    assert 0.2 <= time.monotonic() - begun < 1.5
    await asyncio.wait([sandbox.exited], timeout=1)
    assert sandbox.exited.done()


async def test_an_init_out_of_time_is_gone(bench: Bench) -> None:
    sandbox = await bench.create()
    ran = await bench.init(sandbox, "while True: pass", timeout_s=0.2)
    assert bench.cause(ran) == Cause.TIMED_OUT


async def test_a_timer_of_an_earlier_run_does_not_end_a_later_one(bench: Bench) -> None:
    sandbox = await bench.ready(SLEEP)
    await bench.run(sandbox, {"s": 0}, timeout_s=0.3)
    ran = await bench.run(sandbox, {"s": 0.6}, timeout_s=5)
    assert bench.result(ran) == {}
    assert bench.cause(await bench.run(sandbox, timeout_s=0.1)) == Cause.TIMED_OUT


async def test_what_a_run_logged_before_its_time_was_out_is_kept(bench: Bench) -> None:
    code = "import time\ndef main(args):\n    print('so far', flush=True)\n    time.sleep(60)\n"
    ran = await bench.run(await bench.ready(code), timeout_s=0.3)
    assert bench.texts(ran) == ["so far"]


STRAYS = """
import os, signal, subprocess, time
def main(args):
    ignore = 'trap "" TERM HUP INT; sleep 12345; sleep 12345'
    subprocess.Popen(['sh', '-c', ignore])
    subprocess.Popen(['setsid', 'sh', '-c', ignore])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(10):
                try: os.close(fd)
                except OSError: pass
            os.execvp('sleep', ['sleep', '12345'])
        os._exit(0)
    os.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if args['then'] == 'return': return {}
    if args['then'] == 'exit': os._exit(0)
    time.sleep(60)
"""


@pytest.mark.parametrize("then", ["sleep", "return", "exit"])
async def test_no_descendant_outlives_its_sandbox(bench: Bench, then: str) -> None:
    sandbox = await bench.ready(STRAYS)
    await bench.run(sandbox, {"then": then}, timeout_s=1.0)
    await sandbox.destroy()
    assert await bench.processes("sleep\0" + "12345") == []


# Deaths


async def test_a_sandbox_that_dies_idle_completes_exited(bench: Bench) -> None:
    code = (
        "import os, threading\n"
        "def main(args):\n"
        "    threading.Timer(0.1, os._exit, [7]).start()\n"
        "    return {}\n"
    )
    sandbox = await bench.ready(code)
    assert bench.result(await bench.run(sandbox)) == {}
    await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)


async def test_a_killed_interpreter_is_gone(bench: Bench) -> None:
    code = "import os\ndef main(args):\n    os.kill(os.getpid(), 9)\n"
    ran = await bench.run(await bench.ready(code))
    assert ran.said == Gone(Cause.EXITED)


async def test_a_sandbox_that_dies_before_it_reads_says_so(bench: Bench) -> None:
    sandbox = await bench.ready(ECHO)
    launcher = _family(sandbox.pid)[-1]
    os.kill(launcher, signal.SIGSTOP)  # it reads no more, once it has stopped
    while ") T " not in Path(f"/proc/{launcher}/stat").read_text():
        await asyncio.sleep(0.001)
    running = asyncio.ensure_future(bench.run(sandbox))
    await asyncio.sleep(0.05)
    await sandbox.destroy()
    assert (await running).said == Gone(Cause.EXITED, unread=True)
    assert (await bench.run(sandbox)).said == Gone(Cause.EXITED, unread=True)


async def test_a_sandbox_that_has_read_does_not_claim_otherwise(bench: Bench) -> None:
    sandbox = await bench.ready(SLEEP)
    running = asyncio.ensure_future(bench.run(sandbox))
    await asyncio.sleep(0.2)
    await sandbox.destroy()
    assert (await running).said == Gone(Cause.EXITED)


def _family(pid: int) -> list[int]:
    """Itself and all below, the launcher last."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in listed for each in _family(int(child)))]


async def test_destroy_ends_a_run_and_may_be_called_twice(bench: Bench) -> None:
    sandbox = await bench.ready(SLEEP)
    running = asyncio.ensure_future(bench.run(sandbox))
    await asyncio.sleep(0.05)
    await asyncio.gather(sandbox.destroy(), sandbox.destroy())
    await sandbox.destroy()
    assert bench.cause(await running) == Cause.EXITED
    assert sandbox not in bench.factory.live


FORGE = """
import os, threading, time
def forge():
    time.sleep(0.1)
    for fd in range(3, 20):
        try: os.write(fd, b'+{"forged":true}\\n')
        except OSError: pass
def main(args):
    if args.get('now'): forge()
    else: threading.Thread(target=forge).start()
    return {'mine': True}
"""


async def test_an_answer_that_nobody_asked_for_ends_the_sandbox(bench: Bench) -> None:
    sandbox = await bench.ready(FORGE)
    assert bench.result(await bench.run(sandbox)) == {"mine": True}
    await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)
    assert bench.cause(await bench.run(sandbox)) == Cause.EXITED


async def test_a_forged_answer_spoils_only_its_own_run(bench: Bench) -> None:
    sandbox = await bench.ready(FORGE)
    await bench.run(sandbox, {"now": True})
    await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)


@pytest.mark.parametrize("written", ["b'no status\\n'", "b'+{}\\n+{}\\n'", "b'\\n'"])
async def test_bytes_that_are_no_answer_end_the_run(bench: Bench, written: str) -> None:
    code = f"import os, time\ndef main(args):\n    os.write(3, {written})\n    time.sleep(60)\n"
    ran = await bench.run(await bench.ready(code))
    assert bench.cause(ran) == Cause.EXITED


async def test_closing_the_channel_ends_the_run(bench: Bench) -> None:
    code = "import os, time\ndef main(args):\n    os.close(3)\n    time.sleep(60)\n"
    ran = await bench.run(await bench.ready(code), timeout_s=10)
    assert bench.cause(ran) == Cause.EXITED


# Sizes


@pytest.mark.parametrize("size", [10, 65_000, 65_536, 70_000, 1_000_000])
async def test_payloads_of_any_size_go_in_and_out(bench: Bench, size: int) -> None:
    sandbox = await bench.ready(ECHO)
    for _ in range(2):
        answer = bench.result(await bench.run(sandbox, {"a": "x" * size}))
        assert answer == {"a": "x" * size}


async def test_an_answer_at_the_limit_is_taken_and_one_beyond_counted(
    bench: Bench,
) -> None:
    limit = 1 << 20
    code = "def main(args):\n    return {'a': 'x' * (args['size'] - 8)}\n"
    sandbox = await bench.ready(code)
    fits = (await bench.run(sandbox, {"size": limit})).said
    assert isinstance(fits, Answer)
    assert len(fits.body) == limit
    long = (await bench.run(sandbox, {"size": 3 * limit})).said
    assert isinstance(long, Gone)
    assert (long.cause, long.size, len(long.start)) == (
        Cause.TOO_LONG,
        3 * limit,
        limit,
    )
    assert long.start.startswith(b'{"a":"xxx')
    assert bench.result(await bench.run(sandbox, {"size": 9})) == {"a": "x"}


async def test_an_answer_without_end_ends_the_sandbox(bench: Bench) -> None:
    code = "import os\ndef main(args):\n    os.write(3, b'+')\n    while True: os.write(3, b'x' * 65536)\n"
    ran = await bench.run(await bench.ready(code))
    assert bench.cause(ran) == Cause.EXITED


async def test_arguments_may_hold_newlines_between_their_tokens(bench: Bench) -> None:
    from edge_agent.sandbox.base import RunRequest

    sandbox = await bench.ready(ECHO)
    request = RunRequest(b'{\n "a":\r\n [1,\n2]\n}', {})
    ran = await sandbox.run(request, timeout_s=5, logs_bytes=0)
    assert bench.result(ran) == {"a": [1, 2]}


# Logs


async def test_logs_stop_at_their_limit(bench: Bench) -> None:
    code = (
        "def main(args):\n    for n in range(100000): print('line', n)\n    return {}\n"
    )
    sandbox = await bench.ready(code)
    ran = await bench.run(sandbox, logs_bytes=10_000)
    assert bench.result(ran) == {}
    assert bench.texts(ran)[:2] == ["line 0", "line 1"]
    assert sum(map(len, ran.logs[:-1])) <= 10_000
    assert ran.logs[-1].endswith(
        "stderr: Logs were truncated because the total bytes size exceeds the "
        "limit of 10000 bytes."
    )
    assert bench.texts(await bench.run(sandbox, logs_bytes=5000))[0] == "line 0"


async def test_no_logs_are_kept_when_the_limit_is_zero(bench: Bench) -> None:
    sandbox = await bench.ready("def main(args):\n    print('x')\n    return {}\n")
    assert (await bench.run(sandbox, logs_bytes=0)).logs == ()
    assert bench.texts(await bench.run(sandbox)) == ["x"]


async def test_binary_output_and_unfinished_lines_are_lines(bench: Bench) -> None:
    code = "import os\ndef main(args):\n    os.write(1, bytes(range(128, 132)) + b'\\nend')\n    return {}\n"
    ran = await bench.run(await bench.ready(code))
    assert bench.texts(ran) == ["\ufffd" * 4, "end"]


@pytest.mark.timeout(60)
async def test_a_flood_neither_blocks_the_loop_nor_grows(bench: Bench) -> None:
    code = (
        "import os, time\n"
        "def main(args):\n"
        "    line, until = (b'y' * 80 + b'\\n') * 800, time.monotonic() + 1\n"
        "    while time.monotonic() < until: os.write(1, line)\n"
        "    return {}\n"
    )
    sandbox = await bench.ready(code)
    running = asyncio.ensure_future(bench.run(sandbox, logs_bytes=100_000))
    worst = 0.0
    while not running.done():
        begun = time.monotonic()
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - begun)
    ran = await running
    assert bench.result(ran) == {}
    assert sum(map(len, ran.logs)) < 110_000
    assert worst < 0.25


# Nothing left over


@pytest.mark.blocks_loop
async def test_fifty_sandboxes_leave_no_descriptor_and_no_process(bench: Bench) -> None:
    await (await bench.ready(ECHO)).destroy()
    descriptors, children = _descriptors(), _children()
    for _ in range(5):
        made = await asyncio.gather(*(bench.ready(ECHO) for _ in range(10)))
        answers = await asyncio.gather(*(bench.run(s, {"a": 1}) for s in made))
        assert all(bench.result(ran) == {"a": 1} for ran in answers)
        await asyncio.gather(*(sandbox.destroy() for sandbox in made))
    assert _descriptors() == descriptors
    assert _children() == children


def _children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


async def test_close_removes_the_folder_and_every_sandbox(
    open_bench: OpenBench,
) -> None:
    bench = await open_bench("rlimits")
    sandbox = await bench.ready(SLEEP)
    folder = bench.factory.folder
    await bench.factory.close()
    assert sandbox.exited.done()
    assert not folder.exists()


# Creating


async def test_a_cancelled_create_leaves_nothing(bench: Bench) -> None:
    for delay_s in (0.0, 0.002, 0.005, 0.01):
        creating = asyncio.ensure_future(bench.create())
        await asyncio.sleep(delay_s)
        creating.cancel()
        await asyncio.wait([creating])
        if not creating.cancelled():
            await creating.result().destroy()
    assert bench.factory.live == ()
    mark = str(bench.factory.folder / "launchers")
    inside = "/run/edgewhisk/python"
    assert await bench.processes(mark, until=0) == []
    if bench.factory.level == "namespaces":
        mine = set(_children().split())
        assert not mine & set(map(str, await bench.processes(inside)))


async def test_kinds_are_those_installed_and_unknown_ones_refused(bench: Bench) -> None:
    factory = bench.factory
    assert _is_a_factory(factory).kinds[0].startswith("python:3.")
    assert factory.resolve("cobol:1") is None
    with pytest.raises(SandboxError, match="no runtime for kind cobol:1"):
        await factory.create(SandboxSpec("cobol:1", 256))


async def test_a_machine_below_the_minimum_is_refused_with_the_remedy() -> None:
    probe = Probe(findings=(Finding("no bubblewrap", "apt-get install bubblewrap"),))
    with pytest.raises(SettingsError, match="apt-get install bubblewrap"):
        await ProcessFactory.open(
            settings.Sandboxing(), settings.Runtimes(), probe=probe
        )


@pytest.mark.sandbox
async def test_a_bubblewrap_that_fails_says_why(held: Bench) -> None:
    etc = held.factory.folder / "etc"
    etc.rename(etc.with_name("gone"))
    with pytest.raises(SandboxError, match=r"did not start: .*bwrap: .*etc"):
        await held.create()
    assert not held.factory.live


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
