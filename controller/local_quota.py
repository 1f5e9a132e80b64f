"""A share of the processor for a node on this machine, as if it were a slower one.

Control groups do it, of either version, and only for root. A group bounds the node's
process and all that it starts; what it has started already is moved as well.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from edge_agent.model.errors import EdgeWhiskError

PERIOD_US = 20_000
#: The least a kernel takes.
LEAST_US = 1_000
ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
#: Files that tell which version a folder is of.
_V1, _V2 = "cpu.cfs_quota_us", "cpu.max"
EMPTY_S = 5.0


class QuotaError(EdgeWhiskError):
    exit_code: ClassVar[int] = 2


class Quota:
    """One group; `close` takes it away, and moves who is left to the parent."""

    def __init__(self, cpus: float) -> None:
        """Raises QuotaError: not root, or no control groups for the processor."""
        self._root = _root()
        self._folder = self._root / f"edgewhisk-quota-{secrets.token_hex(4)}"
        try:
            self._folder.mkdir()
            quota = max(LEAST_US, int(cpus * PERIOD_US))
            if (self._folder / _V1).exists():
                (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._folder / _V1).write_text(str(quota))
            else:
                (self._folder / _V2).write_text(f"{quota} {PERIOD_US}")
        except OSError as error:
            self.close()
            text = f"no share of the processor can be given: {error}"
            raise QuotaError(text) from error

    def put(self, process: int) -> None:
        """This process, and all that it has started so far."""
        for each in (process, *descendants(process)):
            with suppress(ProcessLookupError, OSError):
                (self._folder / "cgroup.procs").write_text(str(each))

    def close(self) -> None:
        until = time.monotonic() + EMPTY_S
        while self._folder.exists():
            with suppress(OSError):
                for each in (self._folder / "cgroup.procs").read_text().split():
                    with suppress(OSError):
                        (self._root / "cgroup.procs").write_text(each)
                self._folder.rmdir()
                return
            if time.monotonic() > until:
                return
            time.sleep(0.02)


@contextmanager
def quotas(processes: list[int], cpus: float) -> Iterator[None]:
    """Let each of the processes have so much of the processor meanwhile."""
    made: list[Quota] = []
    try:
        for process in processes:
            quota = Quota(cpus)
            made.append(quota)
            quota.put(process)
        yield
    finally:
        for quota in made:
            quota.close()


def descendants(process: int) -> list[int]:
    """Of a process: its children, theirs, and so on."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parent = int(place.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.parent.name))
    found, left = [], [process]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += mine
    return found


def _root() -> Path:
    if os.geteuid():
        raise QuotaError("only root can share the processor out")
    for root in ROOTS:
        if (root / "cgroup.procs").exists() and _shares(root):
            return root
    raise QuotaError("this system has no control groups for the processor")


def _shares(root: Path) -> bool:
    if (root / _V1).exists() or (root / "cpu.shares").exists():
        return True
    with suppress(OSError):
        return "cpu" in (root / "cgroup.subtree_control").read_text().split()
    return False
