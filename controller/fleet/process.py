"""Processes that outlive the command that started them.

A later command must be able to stop them and must never hit another: a process id is
used again sooner or later, so a `Process` is an id *and* the moment it was started, and
a signal goes through a descriptor of exactly that process where the system has such.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

POLL_S = 0.01
#: From SIGKILL to the end; only a process stuck in the kernel takes longer.
KILL_TIMEOUT_S = 5.0

_STATE, _STARTED = 0, 19  # of /proc/PID/stat, counted after the name


class Process(msgspec.Struct, frozen=True):
    """A process id and when that process was started, as this system tells it."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        return birth(self.pid) == self.born

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing happens when it is gone."""
        with suppress(ProcessLookupError):
            if hasattr(os, "pidfd_open"):
                self._send_by_descriptor(number)
            elif self.alive:
                os.kill(self.pid, number)

    def _send_by_descriptor(self, number: signal.Signals) -> None:
        descriptor = os.pidfd_open(self.pid)
        try:
            if self.alive:  # what the descriptor holds cannot change any more
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def birth(pid: int) -> str | None:
    """When process `pid` was started, None when there is none (or only its zombie).

    On Linux the boot's id and the start in clock ticks since then; elsewhere what
    `ps` says.
    """
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    with suppress(OSError, IndexError):
        stat = (Path("/proc") / str(pid) / "stat").read_text()
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE] not in {"Z", "X"}:
            return f"{_boot_id()}/{fields[_STARTED]}"
    return None


def spawn(
    command: Sequence[str], *, stdout: Path, stderr: Path, environ: Mapping[str, str]
) -> Process:
    """Start `command` in a session of its own: no Ctrl-C of a terminal reaches it.

    `stdout` is written anew, `stderr` appended to.

    Raises:
        OSError: the program cannot be started.
    """
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    more = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        list(command),
        dict(environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(stdout), new, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(stderr), more, 0o600),
        ],
        setsid=True,
        setsigmask=(),
    )
    return Process(pid, birth(pid) or "")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: between a start and its being written down."""
    numbers = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reap(process: Process) -> None:
    """Take away the zombie of a child of ours; others have other parents."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def ended(process: Process) -> bool:
    reap(process)
    return not process.alive


def stop(processes: Iterable[Process], *, timeout_s: float) -> None:
    """SIGTERM to all, then SIGKILL to those that take longer than `timeout_s`.

    What such a process had started and left behind in its session is killed with it.
    """
    alive = [process for process in processes if not ended(process)]
    for process in alive:
        process.send(signal.SIGTERM)
    slow = _wait(alive, timeout_s)
    for process in slow:
        process.send(signal.SIGKILL)
    _wait(slow, KILL_TIMEOUT_S)
    for process in alive:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait(processes: list[Process], timeout_s: float) -> list[Process]:
    """Those that are still there after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while True:
        processes = [process for process in processes if not ended(process)]
        if not processes or time.monotonic() > until:
            return processes
        time.sleep(POLL_S)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _birth_by_ps(pid: int) -> str | None:
    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or None
