"""Connections that carry nothing but small POSTs, thousands a second.

Map-reduce asks a node for one chunk after another and wants a few fields of each
answer; a general client spends more on such a request than the node does. So: HTTP/1.1
with keep-alive, one request at a time on each connection, and answers that have a
Content-Length. An answer of another form is told as `OddAnswer`, and whoever asked goes
back to the general client.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from yarl import URL

#: Its status, its body, the activation's id, and when to ask again.
Answer = tuple[int, bytes, str, str | None]

_HEAD_END = b"\r\n\r\n"
#: An answer is longer than this only by mistake.
_HEAD_MOST = 65_536


class OddAnswer(Exception):
    """An answer that is not for us; the request has taken effect."""


class Lanes:
    """To one host; `close` it. At most `connections` at once."""

    def __init__(
        self,
        base: URL,
        *,
        authorization: str,
        tls: ssl.SSLContext | None,
        connections: int,
        connect_timeout_s: float,
    ) -> None:
        """`tls`: None for plain http."""
        self._host, self._port = str(base.host), base.port or 80
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._head = (
            f"HTTP/1.1\r\nHost: {base.authority}\r\nAuthorization: {authorization}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._idle: list[_Lane] = []
        self._room = asyncio.Semaphore(connections)

    async def post(
        self,
        url: URL,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> Answer:
        """Send and wait.

        Raises:
            OSError: no connection, so nothing was sent. But these are OSErrors too:
            ConnectionResetError: the connection broke; it may have taken effect.
            TimeoutError: no answer; it may have taken effect.
            OddAnswer: see the top.
        """
        async with self._room:
            lane = self._taken() or await self._opened()
            wire = b"POST %b %b%d\r\n%b\r\n%b" % (
                url.raw_path_qs.encode(),
                self._head,
                len(body),
                b"" if headers is None else _lines(headers),
                body,
            )
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await lane.ask(wire)
            except BaseException:
                lane.close()  # what comes late must not be taken for another answer
                raise
            if lane.open:
                self._idle.append(lane)
            return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _taken(self) -> _Lane | None:
        while self._idle:
            lane = self._idle.pop()
            if lane.open:
                return lane
        return None

    async def _opened(self) -> _Lane:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, lane = await loop.create_connection(
                    _Lane, self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            text = f"no connection within {self._connect_timeout_s:g} s"
            raise ConnectionRefusedError(text) from error
        return lane


def _lines(headers: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


class _Lane(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parts: list[bytes] = []
        self._missing = -1
        self._status = 0
        self._fields: dict[bytes, bytes] = {}

    def ask(self, wire: bytes) -> asyncio.Future[Answer]:
        assert self._transport is not None  # noqa: S101 it is made by the loop
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(wire)
        return self._answer

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True
        connected = transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            reason = getattr(exc, "strerror", None) or "closed by the host"
            self._answer.set_exception(ConnectionResetError(reason))

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        try:
            if self._missing >= 0:
                self._missing -= len(data)
            else:
                self._read_head()
        except (ValueError, IndexError, KeyError):
            self._odd()
            return
        if self._missing == 0:
            self._whole()
        elif self._missing < 0 and self._fields:
            self._odd()

    def _read_head(self) -> None:
        text = b"".join(self._parts)
        head, end, body = text.partition(_HEAD_END)
        self._parts = [text]
        if not end:
            if len(text) > _HEAD_MOST:
                raise ValueError
            return
        first, *lines = head.split(b"\r\n")
        self._status = int(first.split(b" ", 2)[1])
        pairs = (line.partition(b":") for line in lines)
        self._fields = {name.lower(): value.strip() for name, _, value in pairs}
        self._missing = int(self._fields[b"content-length"]) - len(body)
        self._parts = [body]

    def _whole(self) -> None:
        fields, answer = self._fields, self._answer
        pause = fields.get(b"retry-after")
        told = (
            self._status,
            b"".join(self._parts),
            fields.get(b"x-openwhisk-activation-id", b"").decode(),
            None if pause is None else pause.decode(),
        )
        if fields.get(b"connection", b"").lower() == b"close":
            self.close()
        self._parts, self._missing, self._fields = [], -1, {}
        if answer is not None and not answer.done():
            answer.set_result(told)

    def _odd(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(OddAnswer())
        self.close()
