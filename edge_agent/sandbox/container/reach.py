"""Reaching port 8080 of a container: at its address, or inside its network namespace.

A container on a bridge has an address. One without a network has only its loopback: a
socket belongs to the namespace that it is made in, whoever connects it afterwards, so
a thread goes there, makes the socket and ends. The namespace is held open from the
start on: a process id may come to mean another process.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from dataclasses import dataclass

from edge_agent.sandbox.base import SandboxError

PORT = 8080
LOOPBACK = "127.0.0.1"
_CLONE_NEWNET = 0x4000_0000


@dataclass(slots=True)
class Reach:
    """`namespace` is a file descriptor, -1 for a container that has an address."""

    address: str
    namespace: int = -1

    def socket(self) -> socket.socket:
        """A new one, not connected. Blocks for as long as a thread takes to start.

        Raises:
            SandboxError: we may not go there, as when the agent is not root.
        """
        made = _make_socket() if self.namespace < 0 else _inside(self.namespace)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def close(self) -> None:
        if self.namespace >= 0:
            os.close(self.namespace)
            self.namespace = -1


def reach_of(*, address: str, pid: int) -> Reach:
    """How to reach a running container; raises SandboxError."""
    if address:
        return Reach(address)
    try:
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(
            f"the container's network cannot be entered: {error}"
        ) from error
    if os.fstat(namespace).st_ino == os.stat("/proc/self/ns/net").st_ino:  # noqa: PTH116
        os.close(namespace)
        raise SandboxError("the container has no network of its own")
    return Reach(LOOPBACK, namespace)


def _make_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _inside(namespace: int) -> socket.socket:
    found: list[socket.socket | OSError] = []
    thread = threading.Thread(target=_enter, args=(namespace, found), daemon=True)
    thread.start()
    thread.join()
    (made,) = found
    if isinstance(made, OSError):
        raise SandboxError(
            f"the container's network cannot be entered: {made}"
        ) from made
    return made


def _enter(namespace: int, found: list[socket.socket | OSError]) -> None:
    """Only the thread that does this changes its namespace, and it ends here."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.setns(namespace, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))  # noqa: TRY301 libc raises nothing
        found.append(_make_socket())
    except OSError as error:
        found.append(error)
