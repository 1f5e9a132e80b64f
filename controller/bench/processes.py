"""What processes have used, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME = 11  # fields of stat, counted after the name
_CUTIME = 13


def rss_mb(pid: int) -> float:
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1024


def pss_mb(pid: int) -> float:
    """The part of a process that is its own, shared pages counted in shares."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1024


def _kilobytes(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (PermissionError, ProcessLookupError, FileNotFoundError):
        return 0
    values = [line.split()[1] for line in lines if line.startswith(name)]
    return int(values[0]) if values else 0


def cpu_s(pid: int) -> float:
    """Of a process, its living descendants and those that it has reaped."""
    return sum(_own_cpu_s(each) for each in family(pid))


def busy_ns(pid: int) -> int:
    """Of a process and its living descendants, finely; ended threads not counted."""
    return sum(_scheduled_ns(each) for each in family(pid))


def _scheduled_ns(pid: int) -> int:
    spent = 0
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            spent += int(Path(task.path, "schedstat").read_text().split()[0])
    except OSError:
        return spent
    return spent


def family(pid: int) -> list[int]:
    found, new = [], [pid]
    while new:
        found += new
        new = [child for each in new for child in _children(each)]
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.scandir(f"/proc/{pid}/task"):
            found += map(int, Path(task.path, "children").read_text().split())
    except OSError:
        return found
    return found


def _own_cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    times = fields[_UTIME : _CUTIME + 2]
    return sum(map(int, times)) / _TICKS_PER_S
