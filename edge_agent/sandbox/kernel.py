"""The kernel's small files, read from the event loop without waiting for a disk."""

from __future__ import annotations

import os

_ENOUGH = 1 << 16


def read_text(path: str) -> str:
    """The start of a file of /proc or a control group; empty when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _ENOUGH).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def first_child(pid: int) -> int | None:
    """None where it has none, or where the kernel does not tell."""
    children = read_text(f"/proc/{pid}/task/{pid}/children").split()
    return int(children[0]) if children else None
