"""Runs inside a virtual machine with control groups of version 2, as a node would.

Each check prints one line, `CHECK name ok` or `CHECK name` and what was wrong; the test
outside reads them. The machine has one processor, so that weights can be seen.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from edge_agent import settings
from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.base import InitRequest, RunRequest, SandboxSpec
from edge_agent.sandbox.cgroup import find_cgroups
from edge_agent.sandbox.probe import Probe
from edge_agent.sandbox.process import ProcessFactory

ROOT = Path("/sys/fs/cgroup")
SERVICE = ROOT / "system.slice/edge.service"
LIMITS = {"timeout_s": 60.0, "logs_bytes": 1 << 20}
IDLE = "def main(args): return args"
HOG = "def main(args): return {'n': len([b'x' * (1 << 20) for _ in range(4000)])}"
FORKS = (
    "import os, time\ndef main(args):\n  for n in range(500):\n"
    "    try:\n      if not os.fork(): time.sleep(60); os._exit(0)\n"
    "    except OSError: return {'error': n}\n"
)
SPIN = (
    "import time\ndef main(args):\n  end = time.monotonic() + args['s']\n  n = 0\n"
    "  while time.monotonic() < end: n += 1\n  return {'n': n}\n"
)
ESCAPE = (
    "import subprocess\ndef main(args):\n"
    "  child = subprocess.Popen(['/usr/bin/python3', '-c',\n"
    "    'import os, time; os.environ.clear(); os.setsid(); time.sleep(600)'],\n"
    "    start_new_session=True, env={})\n"
    "  return {'pid': child.pid}\n"
)

Check = Callable[[ProcessFactory], Awaitable[None]]


def read(path: Path | str) -> str:
    return Path(path).read_text().strip()


async def ready(factory: ProcessFactory, code: str, memory_mb: int = 256) -> Any:
    kind = factory.resolve("python:default")
    assert kind, factory.runtimes.findings
    sandbox = await factory.create(SandboxSpec(kind, memory_mb))
    init = InitRequest("a", "main", code, binary=False, env={})
    ran = await sandbox.init(init, **LIMITS)
    assert isinstance(ran.said, Answer), ran
    assert ran.said.ok, ran
    return sandbox


async def run(sandbox: Any, arguments: bytes = b"{}") -> Any:
    return await sandbox.run(RunRequest(arguments, {}), **LIMITS)


def group_of(sandbox: Any) -> Path:
    group = sandbox._hold.group
    assert group is not None
    assert group.version == 2
    return Path(group.memory)


# --- checks ---------------------------------------------------------------------------


async def the_delegated_place_is_found_and_the_agent_is_in_a_leaf(
    factory: ProcessFactory,
) -> None:
    groups = factory.probe.cgroups
    assert groups.version == 2, groups
    assert groups.memory == groups.pids == groups.cpu == SERVICE, groups
    assert factory.level == "full", factory.probe.findings
    assert read("/proc/self/cgroup").endswith("-agent"), read("/proc/self/cgroup")
    control = set(read(SERVICE / "cgroup.subtree_control").split())
    assert control == {"cpu", "memory", "pids"}, control


async def a_sandbox_has_its_bounds_and_its_processes(factory: ProcessFactory) -> None:
    sandbox = await ready(factory, IDLE, 512)
    place = group_of(sandbox)
    assert read(place / "memory.max") == str(512 << 20)
    assert read(place / "memory.swap.max") == "0"
    assert read(place / "pids.max") == "64"
    assert read(place / "cpu.weight") == "200"
    assert str(sandbox._hold.launcher()) in read(place / "cgroup.procs").split()
    assert (await run(sandbox, b'{"a":1}')).said == Answer(b'{"a":1}')
    await sandbox.destroy()
    assert not place.exists()


async def memory_is_bounded_and_the_kernel_says_so(factory: ProcessFactory) -> None:
    sandbox = await ready(factory, HOG)
    place = group_of(sandbox)
    waiting = asyncio.ensure_future(run(sandbox))
    killed = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        if place.exists():
            events = dict(
                line.split() for line in read(place / "memory.events").splitlines()
            )
            killed = max(killed, int(events["oom_kill"]))
    said = waiting.result().said
    assert isinstance(said, Gone), said
    assert said.cause is Cause.OUT_OF_MEMORY, said
    assert killed, "the kernel's counter did not move"
    await sandbox.destroy()


async def processes_are_bounded_and_the_kernel_says_so(factory: ProcessFactory) -> None:
    sandbox = await ready(factory, FORKS)
    ran = await run(sandbox)
    assert isinstance(ran.said, Answer), ran
    assert sandbox.exceeded() == "processes"
    events = read(group_of(sandbox) / "pids.events")
    assert int(events.split()[1]) > 0, events
    await sandbox.destroy()


async def processors_are_shared_by_weight(factory: ProcessFactory) -> None:
    small, large = await asyncio.gather(
        ready(factory, SPIN, 128), ready(factory, SPIN, 512)
    )
    runs = await asyncio.gather(run(small, b'{"s":6}'), run(large, b'{"s":6}'))
    assert all(isinstance(ran.said, Answer) for ran in runs), runs
    used = [int(read(group_of(one) / "cpu.stat").split()[1]) for one in (small, large)]
    assert 2.5 < used[1] / used[0] < 5.5, used
    await asyncio.gather(small.destroy(), large.destroy())


async def nothing_is_left_of_a_factory_that_closed(factory: ProcessFactory) -> None:
    await ready(factory, IDLE)
    await factory.close()
    left = [path.name for path in SERVICE.iterdir() if path.is_dir()]
    assert all(name.endswith("-agent") for name in left), left


async def one_write_kills_whoever_has_left_its_session() -> None:
    """At `rlimits` nothing but the control group knows such a process."""
    groups = find_cgroups(ROOT)
    factory = await ProcessFactory.open(
        settings.Sandboxing(minimum_level="rlimits"),
        settings.Runtimes(),
        probe=Probe(cgroups=groups),
    )
    sandbox = await ready(factory, ESCAPE)
    ran = await run(sandbox)
    pid = int(ran.said.body.decode().partition(":")[2].rstrip("}"))
    assert (group_of(sandbox) / "cgroup.kill").exists()
    assert Path(f"/proc/{pid}").exists()
    place = group_of(sandbox)
    await sandbox.destroy()
    assert state_of(pid) in {"", "Z"}, state_of(pid)
    assert not place.exists()
    await factory.close()


def state_of(pid: int) -> str:
    try:
        return read(f"/proc/{pid}/stat").rpartition(") ")[2][0]
    except OSError:
        return ""


async def who_shares_its_group_has_none() -> None:
    """What a node in a terminal finds: its shell is there, too."""
    factory = await ProcessFactory.open(
        settings.Sandboxing(minimum_level="namespaces"), settings.Runtimes()
    )
    sandbox = await ready(factory, IDLE)
    assert sandbox.level == "namespaces", sandbox.level
    assert sandbox._hold.group is None
    await factory.close()
    left = [path.name for path in place_of_self().parent.iterdir() if path.is_dir()]
    assert not [n for n in left if n.startswith("edgewhisk") and "agent" not in n], left


def place_of_self() -> Path:
    return ROOT / read("/proc/self/cgroup").partition("::")[2].lstrip("/")


# --- the way of the machine -----------------------------------------------------------

WITH_FACTORY: tuple[Check, ...] = (
    the_delegated_place_is_found_and_the_agent_is_in_a_leaf,
    a_sandbox_has_its_bounds_and_its_processes,
    memory_is_bounded_and_the_kernel_says_so,
    processes_are_bounded_and_the_kernel_says_so,
    processors_are_shared_by_weight,
    nothing_is_left_of_a_factory_that_closed,
)


def tell(name: str, trouble: str = "") -> None:
    sys.stdout.write(f"CHECK {name} {trouble or 'ok'}\n")
    sys.stdout.flush()


async def check(name: str, work: Awaitable[None]) -> None:
    began = time.monotonic()
    try:
        await work
    except Exception:  # noqa: BLE001 told on the line
        tell(name, "failed: " + traceback.format_exc().replace("\n", " | "))
    else:
        tell(name)
    sys.stdout.write(f"{name} took {time.monotonic() - began:.1f} s\n")


async def in_a_service() -> None:
    sandboxing = settings.Sandboxing(minimum_level="full", processes=64)
    factory = await ProcessFactory.open(sandboxing, settings.Runtimes())
    for one in WITH_FACTORY:
        await check(one.__name__, one(factory))


def delegate(name: str) -> Path:
    """A group as systemd makes one for a service with Delegate=yes."""
    place = ROOT / "system.slice" / name
    place.mkdir(parents=True, exist_ok=True)
    for folder in (ROOT, place.parent):
        (folder / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    return place


def run_in(place: Path, part: str) -> None:
    """A process of its own for each part, since the agent cannot leave its leaf."""

    def enter() -> None:
        (place / "cgroup.procs").write_text(str(os.getpid()))

    subprocess.run([sys.executable, __file__, part], preexec_fn=enter, check=False)


def main() -> None:
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part == "service":
        asyncio.run(in_a_service())
    elif part:
        work = globals()[part]
        asyncio.run(check(part, work()))
    else:
        run_in(delegate("edge.service"), "service")
        run_in(
            delegate("plain.service"),
            one_write_kills_whoever_has_left_its_session.__name__,
        )
        shared = delegate("session.scope")
        shell = subprocess.Popen(["sleep", "600"])
        (shared / "cgroup.procs").write_text(str(shell.pid))
        run_in(shared, who_shares_its_group_has_none.__name__)
        shell.kill()
        tell("all")


if __name__ == "__main__":
    main()
