"""Control groups of sandboxes: one each, with bounds on memory and processes.

Version 1 has a tree per controller, version 2 one for all. Below the agent's own group
there is a parent `edgewhisk-<pid>-...` per factory, in it a child per sandbox. Under
version 2 a group with processes may not hand controllers to its children: the agent
first moves itself into a leaf, and where others share its group there are no groups.

Each sandbox's share of the processors is that of its memory (D12). All of them together
weigh as many programs as there are processors, however many they are and run: so the
agent has its part while they work, and so has whatever else runs on the machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.sandbox.kernel import read_text, write_text

PARENT = "edgewhisk"
V1, V2 = 1, 2
#: What a sandbox of 256 MB weighs, which is what everything weighs by default.
WEIGHT_OF_STANDARD = {V1: 1024, V2: 100}
STANDARD_MB = 256
_WEIGHTS = {V1: ("cpu.shares", 2, 262_144), V2: ("cpu.weight", 1, 10_000)}
_REMOVE_TRIES, _REMOVE_PAUSE_S = 20, 0.005


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made. `version` 0: nowhere, and `reason` says why."""

    version: int = 0
    memory: Path | None = None
    pids: Path | None = None
    reason: str = "absent"
    cpu: Path | None = None

    @property
    def usable(self) -> bool:
        return self.memory is not None or self.pids is not None


def find_cgroups(root: Path, *, self_cgroup: Path | None = None) -> Cgroups:
    """The agent's own place in the trees below `root`, where it may write."""
    own = _own_groups(self_cgroup or Path("/proc/self/cgroup"))
    if (root / "cgroup.controllers").exists():
        return _find_v2(root, own.get("", "/"))
    memory = _writable(root / "memory" / own.get("memory", "/").lstrip("/"))
    pids = _writable(root / "pids" / own.get("pids", "/").lstrip("/"))
    cpu = _writable(root / "cpu" / own.get("cpu", "/").lstrip("/"))
    if memory or pids:
        return Cgroups(V1, memory, pids, "" if memory else "absent", cpu)
    present = (root / "memory").exists()
    return Cgroups(reason="not writable" if present else "absent")


def _find_v2(root: Path, own: str) -> Cgroups:
    place = root / own.lstrip("/")
    try:
        controllers = (place / "cgroup.controllers").read_text().split()
    except OSError:
        controllers = []
    if "memory" not in controllers:
        return Cgroups(reason="absent" if place == root else "not delegated")
    if _writable(place) is None or not os.access(place / "cgroup.procs", os.W_OK):
        return Cgroups(reason="not writable")
    pids, cpu = (place if name in controllers else None for name in ("pids", "cpu"))
    return Cgroups(V2, place, pids, "", cpu)


def _own_groups(path: Path) -> dict[str, str]:
    """Controller -> our group's path; the empty controller is version 2's."""
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), place))
    return groups


def _writable(path: Path) -> Path | None:
    return path if path.is_dir() and os.access(path, os.W_OK) else None


@dataclass(slots=True)
class Group:
    """The group of one sandbox: a folder per controller (one folder under v2)."""

    version: int
    memory: Path | None
    pids: Path | None
    cpu: Path | None = None
    folders: list[Path] = field(default_factory=list)

    def add(self, *pids: int) -> None:
        """Move processes in here. The first move in a while waits for all cores."""
        for folder in self.folders:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    (folder / "cgroup.procs").write_text(str(pid))

    def bound(self, *, memory_mb: int) -> None:
        """Raises OSError; takes no longer than a system call or three."""
        if self.memory is not None:
            _bound_memory(f"{self.memory}", self.version, memory_mb << 20)
        if self.cpu is not None:
            _weigh(self.cpu, self.version, memory_mb)

    def kill(self) -> None:
        """Every process in here; under version 1 one that forks meanwhile may live."""
        if not self.folders:
            return
        try:
            write_text(f"{self.folders[0]}/cgroup.kill", "1", create=False)
        except OSError:  # version 1, or a kernel before 5.14
            for pid in read_text(f"{self.folders[0]}/cgroup.procs").split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel killed in here for memory."""
        if self.memory is None:
            return False
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in read_text(f"{self.memory}/{name}").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return value != "0"
        return False

    @property
    def refused_processes(self) -> int:
        """How often a fork or a thread was refused in here."""
        text = "" if self.pids is None else read_text(f"{self.pids}/pids.events")
        name, _, count = text.partition("\n")[0].partition(" ")
        return int(count) if name == "max" else 0

    def remove(self) -> None:
        """Remove the folders; blocks for some milliseconds while processes end."""
        for folder in self.folders:
            for _ in range(_REMOVE_TRIES):
                if _removed(folder):
                    break
                time.sleep(_REMOVE_PAUSE_S)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class GroupMaker:
    """Makes groups under a parent of its own, told from our others by `name`."""

    def __init__(self, cgroups: Cgroups, *, name: str) -> None:
        self._cgroups = cgroups
        self._name = f"{PARENT}-{os.getpid()}-{name}"

    def prepare(self) -> None:
        """Make the parents and clear what dead agents left; raises OSError."""
        for place in self._places():
            _sweep(place)
            (place / self._name).mkdir(exist_ok=True)
        if self._cgroups.version == V2 and self._cgroups.memory:
            try:
                self._delegate(self._cgroups.memory)
            except OSError:
                self.close()
                raise
        if self._cgroups.cpu:
            standard = STANDARD_MB * (os.cpu_count() or 1)
            _weigh(self._cgroups.cpu / self._name, self._cgroups.version, standard)

    def make(
        self, sandbox_id: str, *, processes: int, memory_mb: int | None = None
    ) -> Group:
        """A group with its bounds set; raises OSError."""
        memory, pids, cpu = (
            place / self._name / sandbox_id if place else None for place in self._all()
        )
        folders = list(dict.fromkeys(f for f in (memory, pids, cpu) if f))
        group = Group(self._cgroups.version, memory, pids, cpu, folders)
        for folder in folders:
            folder.mkdir()
        if memory_mb is not None:
            group.bound(memory_mb=memory_mb)
        if pids:
            (pids / "pids.max").write_text(str(processes))
        return group

    def close(self) -> None:
        for place in self._places():
            _remove_parent(place / self._name)

    def _places(self) -> list[Path]:
        return list(dict.fromkeys(place for place in self._all() if place))

    def _all(self) -> tuple[Path | None, ...]:
        return (self._cgroups.memory, self._cgroups.pids, self._cgroups.cpu)

    def _delegate(self, place: Path) -> None:
        leaf = place / f"{self._name}-agent"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        names = {
            "memory": self._cgroups.memory,
            "pids": self._cgroups.pids,
            "cpu": self._cgroups.cpu,
        }
        wanted = " ".join(f"+{name}" for name, there in names.items() if there)
        for folder in (place, place / self._name):
            (folder / "cgroup.subtree_control").write_text(wanted)


def _bound_memory(folder: str, version: int, size: int) -> None:
    """Swap may be used for none of it; some kernels do not count swap."""
    names = (
        ("memory.max", "memory.swap.max")
        if version == V2
        else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    )
    write_text(f"{folder}/{names[0]}", str(size))
    with contextlib.suppress(OSError):
        write_text(f"{folder}/{names[1]}", "0" if version == V2 else str(size))


def _weigh(folder: Path, version: int, memory_mb: int) -> None:
    """Give a group the weight of so much memory; raises OSError."""
    name, least, most = _WEIGHTS[version]
    weight = WEIGHT_OF_STANDARD[version] * memory_mb // STANDARD_MB
    write_text(f"{folder}/{name}", str(min(max(weight, least), most)))


def _sweep(place: Path) -> None:
    """Remove the groups of agents that are no more."""
    for parent in place.glob(f"{PARENT}-*"):
        pid = parent.name.split("-")[1]
        if not pid.isdigit() or Path(f"/proc/{pid}").exists():
            continue
        _remove_parent(parent)


def _remove_parent(parent: Path) -> None:
    """With the groups in it, as far as they are empty."""
    with contextlib.suppress(FileNotFoundError):
        for child in parent.iterdir():
            if child.is_dir():
                _removed(child)
    _removed(parent)
