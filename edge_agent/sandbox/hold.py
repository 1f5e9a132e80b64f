"""How a sandbox's processes are held, and let go for good.

`NamespaceHold`: everything lives in a pid namespace; the kernel ends all of it when its
first process dies, and that process is only gone when all others are. `ForkHold`: the
same, made by a fork server. `GroupHold`: no namespace; a process group, plus a search
for strays by a variable that each process of the sandbox has in its environment.
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
from edge_agent.sandbox.kernel import first_child
from edge_agent.sandbox.spawn import Child

#: In the environment of every process of a sandbox without namespaces.
COOKIE = "EDGEWHISK_SANDBOX"
CLEAN_TIMEOUT_S = 5.0
_SWEEPS, _SWEEP_PAUSE_S = 20, 0.01


class Hold(Protocol):
    """`kill` acts at once; `clean` blocks until nothing is left.

    `group` is the control group, once the sandbox is in one.
    """

    group: Group | None

    def settle(self) -> list[int]:
        """Once the launcher has spoken: the pids that live on, the launcher's last."""
        ...

    def launcher(self) -> int | None:
        """The launcher's pid, where it has mounts of its own and lives."""
        ...

    def kill(self) -> None: ...

    def quick_clean(self) -> bool:
        """Clean if that takes no time; False when `clean` is needed."""
        ...

    def clean(self) -> None: ...


class NamespaceHold:
    def __init__(self, child: Child) -> None:
        self.group: Group | None = None
        self._child = child
        self._first = -1
        self._launcher: int | None = None

    def settle(self) -> list[int]:
        first = first_child(self._child.pid)
        if first is None:
            return []
        with contextlib.suppress(OSError):
            self._first = os.pidfd_open(first)
        self._launcher = launcher = first_child(first)
        return [first] if launcher is None else [first, launcher]

    def launcher(self) -> int | None:
        return self._launcher

    def kill(self) -> None:
        """To the namespace's first process: bubblewrap ends after all of it has."""
        if self._first < 0:
            self._child.kill(group=False)
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)

    def quick_clean(self) -> bool:
        self.kill()
        if self._first >= 0 and not _ended(self._first, wait_s=0):
            return False
        if self.group is not None:
            return False
        self._close()
        return True

    def clean(self) -> None:
        if self._first >= 0:
            _ended(self._first, wait_s=CLEAN_TIMEOUT_S)
        self._close()
        if self.group is not None:
            self.group.remove()

    def _close(self) -> None:
        if self._first >= 0:
            os.close(self._first)
            self._first = -1


class ForkHold:
    """Of a fork server's child, which is the first process of its namespace."""

    def __init__(self, child: Child, group: Group | None) -> None:
        self.group = group
        self._pid = child.pid
        self._launcher: int | None = None
        self._pidfd = os.dup(child.pidfd)

    def settle(self) -> list[int]:
        """None: its group was joined before it forked."""
        self._launcher = first_child(self._pid)
        return []

    def launcher(self) -> int | None:
        return self._launcher

    def kill(self) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def quick_clean(self) -> bool:
        self.kill()
        return False

    def clean(self) -> None:
        if self._pidfd >= 0:
            _ended(self._pidfd, wait_s=CLEAN_TIMEOUT_S)
            os.close(self._pidfd)
            self._pidfd = -1
        if self.group is not None:
            self.group.remove()


class GroupHold:
    def __init__(self, child: Child, *, cookie: str, folder: Path) -> None:
        self.group: Group | None = None
        self._child = child
        self._cookie = cookie
        self._folder = folder

    def settle(self) -> list[int]:
        return [self._child.pid]

    def launcher(self) -> int | None:
        return None

    def kill(self) -> None:
        self._child.kill(group=True)
        if self.group is not None:
            self.group.kill()

    def quick_clean(self) -> bool:
        return False

    def clean(self) -> None:
        kill_strays(f"{COOKIE}={self._cookie}")
        if self.group is not None:
            self.group.kill()
            self.group.remove()
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


def _ended(pidfd: int, *, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))
