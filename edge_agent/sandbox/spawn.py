"""Starting a process at the least cost to the event loop, and ending it for good.

`posix_spawn` (vfork) and not `subprocess` or asyncio's children: it blocks the loop for
half the time and needs no watcher; a pidfd tells of the death. It must be called on the
thread that lives as long as the agent: bubblewrap's death-with-parent is tied to it.

In the child: fd 0 is /dev/null, 1 and 2 are logs, 3 takes answers, 4 gives requests, 5
the arguments of bubblewrap, which are too many for a process list, 6 its filter.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import sys
import termios
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STDIN, STDOUT, STDERR, ANSWERS, REQUESTS, ARGUMENTS, FILTER = range(7)
#: What a launcher talks by.
TALK = (STDOUT, STDERR, ANSWERS, REQUESTS)
#: Ends for the child are moved above the numbers they are put on there.
_ABOVE = 10
_READS, _WRITES = 0, 1
#: Which end of a pipe is the child's.
_CHILD_END = {
    STDOUT: _WRITES,
    STDERR: _WRITES,
    ANSWERS: _WRITES,
    REQUESTS: _READS,
    ARGUMENTS: _READS,
}


@dataclass(slots=True)
class Child:
    """A process of ours: `ends` maps its fd numbers to our ends of the pipes."""

    pid: int
    pidfd: int
    ends: dict[int, int] = field(default_factory=dict)
    status: int | None = None

    @property
    def exit_fd(self) -> int:
        """Becomes readable when `reap` has news."""
        return self.pidfd

    def reap(self) -> bool:
        """Whether it is dead; sets `status` (negative: the signal) once."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else in this process took it
                pid, status = self.pid, 0
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def kill(self, *, group: bool) -> None:
        """SIGKILL to it, or to its whole process group."""
        if self.status is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(self.pid, signal.SIGKILL)
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self, end: int) -> None:
        fd = self.ends.pop(end, None)
        if fd is not None:
            os.close(fd)

    def close_all(self) -> None:
        for end in list(self.ends):
            self.close(end)
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    pipes: Sequence[int] = TALK,
    given: Mapping[int, int] | None = None,
    opened: Mapping[int, str] | None = None,
) -> Child:
    """Start `command` as the leader of a session of its own.

    Args:
        command: the program's path and its arguments.
        environment: all of it.
        pipes: the numbers to make pipes for.
        given: numbers, and descriptors of ours that the child gets on them.
        opened: numbers, and files that the child opens on them to read.

    Raises:
        OSError: it cannot be started, or we are out of descriptors.
    """
    ours: dict[int, int] = {}
    theirs: dict[int, int] = {}
    try:
        open_pipes(pipes, ours, theirs)
        for number, fd in (given or {}).items():
            theirs[number] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
        pid = _posix_spawn(command, environment, theirs, opened or {})
        _let_go_first(pid)
    except BaseException:
        close_all(ours.values())
        raise
    finally:
        close_all(theirs.values())
    return Child(pid, os.pidfd_open(pid), ours)


def open_pipes(
    numbers: Sequence[int], ours: dict[int, int], theirs: dict[int, int]
) -> None:
    """Make pipes and put their ends into the two; what is there at an error is open."""
    for number in numbers:
        _open_pipe(number, ours, theirs)


def _let_go_first(pid: int) -> None:
    """What is woken by us does not take the processor from us, nor do its children.

    Otherwise each request that the agent writes costs it a switch there and back.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _open_pipe(number: int, ours: dict[int, int], theirs: dict[int, int]) -> None:
    pipe = list(os.pipe())
    end = _CHILD_END[number]
    if pipe[end] < _ABOVE:
        low = pipe[end]
        pipe[end] = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
        os.close(low)
    theirs[number], ours[number] = pipe[end], pipe[1 - end]
    os.set_blocking(ours[number], False)
    if number in {STDOUT, STDERR}:  # /dev/stdout can be opened by another user
        os.fchmod(pipe[end], 0o666)


def _posix_spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    ends: Mapping[int, int],
    opened: Mapping[int, str],
) -> int:
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_OPEN, STDIN, os.devnull, os.O_RDONLY, 0)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in ends.items()]
    actions += [
        (os.POSIX_SPAWN_OPEN, number, path, os.O_RDONLY, 0)
        for number, path in opened.items()
    ]
    return os.posix_spawn(
        command[0],
        list(command),
        dict(environment),
        file_actions=actions,
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
    )


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def grow_pipe(fd: int, size: int) -> None:
    """Let a pipe hold `size` bytes; the system may refuse beyond its bounds."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)


def waiting_in(fd: int) -> int:
    """How many bytes are in a pipe, by either end."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def raise_descriptors() -> None:
    """A sandbox takes seven or eight of ours; a service starts with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def keep_from_children() -> None:
    """Let no child inherit what this process was started with, beside 0, 1 and 2.

    What Python opens is never inherited; what a shell or a service manager left is.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if int(name) > STDERR:
                os.set_inheritable(int(name), False)
