"""The agent's end of a fork server: start it, let it fork, hear of its end.

See `launchers/python_fork.py` for the far end. A request and its answer are one packet
each, answered in order. A child that was forked waits *parked* until it is given its
pipes: so its control group, which may take the kernel ten milliseconds to join, can be
joined before anybody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_agent.sandbox.cgroup import Group
from edge_agent.sandbox.kernel import read_text
from edge_agent.sandbox.spawn import (
    ANSWERS,
    ARGUMENTS,
    STDERR,
    STDOUT,
    TALK,
    Child,
    close_all,
    open_pipes,
    spawn,
)

#: A fork takes a millisecond or two; this is for a machine that swaps.
FORK_TIMEOUT_S = 10.0
_CONTROL = ANSWERS
_TEXT_BYTES = 4096
_STATUS_BYTES = 4
_OK = b"ok"
_KILLED = -int(signal.SIGKILL)


class ForkError(Exception):
    """The fork server is gone, or the kernel refuses what its children need."""


@dataclass(slots=True)
class ForkedChild(Child):
    """Not a child of ours: its exit status comes through a pipe, from its parent.

    The status is written after the whole pid namespace has ended. No status at the end
    of the pipe: the fork server died, and took all of its children along.
    """

    status_fd: int = -1

    @property
    def exit_fd(self) -> int:
        return self.status_fd

    def reap(self) -> bool:
        if self.status is None:
            try:
                told = os.read(self.status_fd, _STATUS_BYTES)
            except BlockingIOError:
                return False
            self.status = int.from_bytes(told, "little", signed=True)
            if not told:
                self.status = _KILLED
        return True

    def kill(self, *, group: bool) -> None:  # noqa: ARG002 - all of it dies with its first
        if self.status is None and self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close_all(self) -> None:
        Child.close_all(self)  # the class has slots: no bare super()
        if self.status_fd >= 0:
            os.close(self.status_fd)
            self.status_fd = -1


@dataclass(slots=True)
class Parked:
    """A child without an action: `release` gives it one's pipes, `discard` ends it."""

    channel: socket.socket
    child: ForkedChild
    network: bool
    group: Group | None = None

    @property
    def alive(self) -> bool:
        """It has nothing to say while it waits: whatever can be read is its end."""
        poll = select.poll()  # `select` takes no number beyond 1023
        poll.register(self.channel, select.POLLIN)
        return not poll.poll(0)

    async def settled(self) -> None:
        """Raises ForkError when the kernel refused it something."""
        loop = asyncio.get_running_loop()
        said = await loop.sock_recv(self.channel, _TEXT_BYTES)
        if said != _OK:
            raise ForkError(said.decode() or "a child of the fork server died")

    def release(self, told: Sequence[str]) -> ForkedChild:
        """Let it go on; raises OSError when it is gone, and then wants `discard`."""
        theirs: dict[int, int] = {}
        try:
            open_pipes(TALK, self.child.ends, theirs)
            ends = [theirs[number] for number in TALK]
            socket.send_fds(self.channel, ["\0".join(told).encode()], ends)
        finally:
            close_all(theirs.values())
        self.channel.close()
        return self.child

    def discard(self) -> None:
        self.channel.close()
        self.child.kill(group=False)
        self.child.close_all()


@dataclass(slots=True)
class ForkServer:
    """A running server; `dead` for good once it is to end, `gone` when it has."""

    process: Child
    control: socket.socket
    dead: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _replies: deque[asyncio.Future[int]] = field(default_factory=deque)

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        arguments: Sequence[str],
    ) -> ForkServer:
        """On the event loop, as `spawn`; raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = spawn(
                command,
                environment,
                pipes=(STDOUT, STDERR, ARGUMENTS),
                given={_CONTROL: theirs.fileno()},
            )
        os.write(process.ends[ARGUMENTS], "\0".join([*arguments, ""]).encode())
        process.close(ARGUMENTS)
        server = cls(process, ours)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, server._on_reply)
        loop.add_reader(process.pidfd, server._on_exit)
        return server

    async def park(self, identity: int, *, network: bool) -> Parked:
        """A settled child.

        Raises:
            ForkError: the server is gone, does not answer, or cannot.
            OSError: we are out of descriptors.
        """
        try:
            async with asyncio.timeout(FORK_TIMEOUT_S):
                channel, child = await self._fork(identity, network=network)
                parked = Parked(channel, child, network)
                try:
                    await parked.settled()
                except BaseException:
                    parked.discard()
                    raise
        except TimeoutError as error:
            self.kill()
            raise ForkError("the fork server does not answer") from error
        return parked

    async def _fork(
        self, identity: int, *, network: bool
    ) -> tuple[socket.socket, ForkedChild]:
        if self.dead:
            raise ForkError(self.last_words())
        channel, place = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.setblocking(False)
        status_fd, told_fd = os.pipe()
        os.set_blocking(status_fd, False)
        try:
            pidfd = await self._ask(identity, network, [told_fd, place.fileno()])
        except BaseException as error:
            channel.close()
            os.close(status_fd)
            if isinstance(error, OSError):
                raise ForkError(f"the fork server is gone: {error}") from error
            raise
        finally:
            place.close()
            os.close(told_fd)
        child = ForkedChild(_pid_of(pidfd), pidfd, status_fd=status_fd)
        return channel, child

    async def _ask(self, identity: int, network: bool, given: list[int]) -> int:  # noqa: FBT001
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        text = f"{identity} {int(network)}".encode()
        socket.send_fds(self.control, [text], given)
        self._replies.append(reply)
        try:
            return await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled() and not reply.exception():
                os.close(reply.result())
            raise

    def _on_reply(self) -> None:
        try:
            text, descriptors, _, _ = socket.recv_fds(self.control, _TEXT_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            text, descriptors = b"", []
        if not text:
            self.kill()
            return
        reply = self._replies.popleft()
        if reply.done():  # given up meanwhile: it ends when its channel is closed
            close_all(descriptors)
        elif descriptors:
            reply.set_result(descriptors[0])
        else:
            reply.set_exception(ForkError(text.decode()))

    def kill(self) -> None:
        """At once; its children die with it."""
        if self.dead:
            return
        self.dead = True
        asyncio.get_running_loop().remove_reader(self.control)
        self.control.close()
        self.process.kill(group=True)

    def last_words(self) -> str:
        end = self.process.ends.get(STDERR)
        try:
            said = os.read(end, _TEXT_BYTES) if end is not None else b""
        except BlockingIOError:
            said = b""
        return said.decode(errors="replace").strip() or "the fork server is gone"

    def _on_exit(self) -> None:
        if not self.process.reap():
            return
        self.kill()
        asyncio.get_running_loop().remove_reader(self.process.pidfd)
        error = ForkError(self.last_words())
        while self._replies:
            reply = self._replies.popleft()
            if not reply.done():
                reply.set_exception(error)
        self.process.close_all()
        self.gone.set()


def _pid_of(pidfd: int) -> int:
    """In our numbers: those of the server's namespace are others."""
    for line in read_text(f"/proc/self/fdinfo/{pidfd}").splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            return int(value)
    return -1
