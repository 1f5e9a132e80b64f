"""What systemd hands over and wants to hear: sockets, readiness, a sign of life.

The protocols are two environment variables each (sd_listen_fds, sd_notify), so there
is nothing to install. Without systemd all of this does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

FIRST_SOCKET = 3
#: Signs of life in the time after which systemd calls us hung.
SIGNS = 3


def inherited_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """The listening sockets of our socket unit, in its order."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environ.get("LISTEN_FDS", "0"))
    found = [socket.socket(fileno=FIRST_SOCKET + n) for n in range(count)]
    for one in found:
        one.set_inheritable(False)  # the sandboxes are none of their heirs
    return found


class Manager:
    """The service manager, as the unit's `Type=notify` and `WatchdogSec` want it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = int(environ.get("WATCHDOG_USEC", "0")) if ours else 0
        self._watchdog_s = usec / 1e6

    def tell(self, *words: str) -> None:
        """Say `READY=1`, `STOPPING=1`, `STATUS=...`; nobody need listen."""
        if not self._address:
            return
        # An address that begins with @ is an abstract one.
        address = self._address.replace("@", "\0", 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            try:
                out.setblocking(False)
                out.sendto("\n".join(words).encode(), address)
            except OSError:
                return

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Give signs of life as long as the loop turns."""
        task = asyncio.create_task(self._live(), name="systemd.watchdog")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _live(self) -> None:
        while self._watchdog_s:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / SIGNS)
