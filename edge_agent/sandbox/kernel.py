"""The kernel's small files, for the event loop: there is no disk behind them."""

from __future__ import annotations

import os

_ENOUGH = 1 << 16


def read_text(path: str) -> str:
    """The start of a file of /proc or a control group; empty when it is not there."""
    return _read(path) or ""


def _read(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, _ENOUGH).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def write_text(path: str, text: str, *, create: bool = True) -> None:
    """To a file of a control group; raises OSError."""
    creating = os.O_CREAT if create else 0
    fd = os.open(path, os.O_WRONLY | creating | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def first_child(pid: int) -> int | None:
    """None where it has none."""
    listed = _read(f"/proc/{pid}/task/{pid}/children")
    children = _search(pid) if listed is None else listed.split()
    return int(children[0]) if children else None


def _search(parent: int) -> list[str]:
    """Children of `parent`, on kernels that keep no list of them; newest last."""
    pids = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return [pid for pid in sorted(pids, key=int) if parent_of(int(pid)) == parent]


def parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    _, _, rest = read_text(f"/proc/{pid}/stat").rpartition(") ")
    return int(rest.split()[1]) if rest else 0
