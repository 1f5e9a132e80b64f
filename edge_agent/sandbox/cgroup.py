"""Control groups of sandboxes: one each, with bounds on memory and processes.

Version 1 has a tree per controller, version 2 one for all. Below the agent's own group
there is a parent `edgewhisk-<pid>-...` per factory, in it a child per sandbox. Under
version 2 a group with processes may not hand controllers to its children: the agent
first moves itself into a leaf, and where others share its group there are no groups.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.sandbox.kernel import read_text, write_text

PARENT = "edgewhisk"
_REMOVE_TRIES, _REMOVE_PAUSE_S = 20, 0.005


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where groups can be made. `version` 0: nowhere, and `reason` says why."""

    version: int = 0
    memory: Path | None = None
    pids: Path | None = None
    reason: str = "absent"

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
    if memory or pids:
        return Cgroups(1, memory, pids, "" if memory else "absent")
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
    return Cgroups(2, place, place if "pids" in controllers else None, "")


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
    folders: list[Path] = field(default_factory=list)

    def add(self, *pids: int) -> None:
        """Move processes in here. The first move in a while waits for all cores."""
        for folder in self.folders:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    (folder / "cgroup.procs").write_text(str(pid))

    def bound_memory(self, memory_mb: int) -> None:
        """Raises OSError; takes no longer than a system call or two."""
        if self.memory is not None:
            _bound_memory(f"{self.memory}", self.version, memory_mb << 20)

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
        if self._cgroups.version == 2 and self._cgroups.memory:  # noqa: PLR2004
            self._delegate(self._cgroups.memory)

    def make(
        self, sandbox_id: str, *, processes: int, memory_mb: int | None = None
    ) -> Group:
        """A group with its bounds set; raises OSError."""
        memory, pids = (
            place / self._name / sandbox_id if place else None
            for place in (self._cgroups.memory, self._cgroups.pids)
        )
        folders = list(dict.fromkeys(f for f in (memory, pids) if f))
        group = Group(self._cgroups.version, memory, pids, folders)
        for folder in folders:
            folder.mkdir()
        if memory_mb is not None:
            group.bound_memory(memory_mb)
        if pids:
            (pids / "pids.max").write_text(str(processes))
        return group

    def close(self) -> None:
        for place in self._places():
            _remove_parent(place / self._name)

    def _places(self) -> list[Path]:
        both = (self._cgroups.memory, self._cgroups.pids)
        return list(dict.fromkeys(place for place in both if place))

    def _delegate(self, place: Path) -> None:
        leaf = place / f"{self._name}-agent"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        for folder in (place, place / self._name):
            (folder / "cgroup.subtree_control").write_text("+memory +pids")


def _bound_memory(folder: str, version: int, size: int) -> None:
    """Swap may be used for none of it; some kernels do not count swap."""
    names = (
        ("memory.max", "memory.swap.max")
        if version == 2  # noqa: PLR2004
        else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    )
    write_text(f"{folder}/{names[0]}", str(size))
    with contextlib.suppress(OSError):
        write_text(f"{folder}/{names[1]}", "0" if version == 2 else str(size))  # noqa: PLR2004


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
