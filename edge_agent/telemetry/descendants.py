"""What the processes below one use: the agent's sandboxes.

Read from `/proc/PID/task/TID/children`, so that only they are looked at and not every
process of the machine. What ends between two reads is in none of them any more: the
CPU time is that of those that live, and of those that were waited for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: A fork bomb must not hold up whoever asks.
MOST = 1000
#: Fields of /proc/PID/stat behind the name: utime, stime, cutime, cstime; and rss.
_TIMES = slice(11, 15)
_RSS = 21


def usage(pid: int, proc: Path = Path("/proc")) -> dict[str, Any] | None:
    """`{"processes", "cpu_s", "rss_bytes"}`; None where the kernel does not tell.

    Pages that processes share are counted for each of them.
    """
    if not (proc / str(pid) / "task" / str(pid) / "children").exists():
        return None
    found = [fields for child in _below(pid, proc) if (fields := _stat(child, proc))]
    ticks = sum(int(value) for fields in found for value in fields[_TIMES])
    return {
        "processes": len(found),
        "cpu_s": round(ticks / _TICKS, 2),
        "rss_bytes": sum(int(fields[_RSS]) for fields in found) * _PAGE,
    }


def _below(pid: int, proc: Path) -> Iterator[int]:
    waiting, seen = [pid], 0
    while waiting and seen < MOST:
        children = _children(waiting.pop(), proc)
        seen += len(children)
        waiting += children
        yield from children


def _children(pid: int, proc: Path) -> list[int]:
    try:
        tasks = list((proc / str(pid) / "task").iterdir())
        texts = [(task / "children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(child) for text in texts for child in text.split()]


def _stat(pid: int, proc: Path) -> list[str] | None:
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
