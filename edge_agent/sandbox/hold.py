"""How a sandbox's processes are held, and let go for good.

`NamespaceHold`: everything lives in a pid namespace; the kernel ends all of it when its
first process dies, and that process is only gone when all others are. `GroupHold`:
no namespace; a process group, plus a search for strays by a variable that each process
of the sandbox has in its environment.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import Protocol

from edge_agent.sandbox.cgroup import Group
from edge_agent.sandbox.spawn import Child

#: In the environment of every process of a sandbox without namespaces.
COOKIE = "EDGEWHISK_SANDBOX"
CLEAN_TIMEOUT_S = 5.0
_SWEEPS, _SWEEP_PAUSE_S = 20, 0.01


class Hold(Protocol):
    """`kill` is at once and returns nothing; `clean` blocks, when all is over."""

    @property
    def out_of_memory(self) -> bool: ...

    def settle(self) -> int | None:
        """Once the launcher has spoken: its pid, as we see it."""
        ...

    def kill(self) -> None: ...

    def quick_clean(self) -> bool:
        """Clean if that takes no time; False when `clean` is needed."""
        ...

    def clean(self) -> None: ...


class NamespaceHold:
    def __init__(self, child: Child, group: Group | None = None) -> None:
        self._child = child
        self._group = group
        self._first = -1

    @property
    def out_of_memory(self) -> bool:
        return self._group is not None and self._group.out_of_memory

    def settle(self) -> int | None:
        first = _only_child(self._child.pid)
        if first is None:
            return None
        with contextlib.suppress(OSError):
            self._first = os.pidfd_open(first)
        return _only_child(first)

    def kill(self) -> None:
        """To the namespace's first process: bubblewrap ends after all of it has."""
        if self._first < 0:
            self._child.kill(group=False)
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def quick_clean(self) -> bool:
        if self._first >= 0 and not _ended(self._first, wait_s=0):
            return False
        if self._group is not None:
            return False
        self._close()
        return True

    def clean(self) -> None:
        if self._first >= 0:
            _ended(self._first, wait_s=CLEAN_TIMEOUT_S)
        self._close()
        if self._group is not None:
            self._group.remove()

    def _close(self) -> None:
        if self._first >= 0:
            os.close(self._first)
            self._first = -1


class GroupHold:
    def __init__(
        self, child: Child, *, cookie: str, folder: Path, group: Group | None = None
    ) -> None:
        self._child = child
        self._cookie = cookie
        self._folder = folder
        self._group = group

    @property
    def out_of_memory(self) -> bool:
        return self._group is not None and self._group.out_of_memory

    def settle(self) -> int | None:
        return self._child.pid

    def kill(self) -> None:
        self._child.kill(group=True)

    def quick_clean(self) -> bool:
        return False

    def clean(self) -> None:
        kill_strays(f"{COOKIE}={self._cookie}")
        if self._group is not None:
            self._group.remove()
        shutil.rmtree(self._folder, ignore_errors=True)


def kill_strays(mark: str) -> None:
    """SIGKILL to every process with `mark` in its environment, until none is left."""
    for _ in range(_SWEEPS):
        strays = _marked(mark.encode())
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_SWEEP_PAUSE_S)


def _marked(mark: bytes) -> list[int]:
    """Zombies have no environment any more and are not found."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            variables = Path(entry.path, "environ").read_bytes().split(b"\0")
            if any(variable.startswith(mark) for variable in variables):
                found.append(int(entry.name))
    return found


def _only_child(pid: int) -> int | None:
    """The first child of `pid`; None where it has none (or the kernel hides it)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _ended(pidfd: int, *, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))
