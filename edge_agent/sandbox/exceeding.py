"""What a sandbox has run out of, by the kernel's counters: asked after a failure."""

from __future__ import annotations

import os

from edge_agent.sandbox.bwrap import ACTION, TMP
from edge_agent.sandbox.hold import Hold

PROCESSES, DISK = "processes", "disk"
#: A folder with less than this part left is full: whoever fails stops at a whole block.
_LEFT = 0.01
_LOOK = os.O_PATH | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


class Exceeding:
    """Of one sandbox. Nothing can be told of a sandbox without groups and mounts."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._refused = 0

    def news(self) -> str:
        """Of `processes` and `disk`, what has run out since it was last asked."""
        refused = 0 if self._hold.group is None else self._hold.group.refused_processes
        if refused > self._refused:
            self._refused = refused
            return PROCESSES
        return DISK if self._disk_is_full() else ""

    def _disk_is_full(self) -> bool:
        launcher = self._hold.launcher()
        if launcher is None:
            return False
        return any(_full(f"/proc/{launcher}/root{place}") for place in (TMP, ACTION))


def _full(place: str) -> bool:
    try:
        fd = os.open(place, _LOOK)
    except OSError:
        return False
    try:
        found = os.fstatvfs(fd)
    finally:
        os.close(fd)
    return found.f_bavail < found.f_blocks * _LEFT or found.f_favail == 0
