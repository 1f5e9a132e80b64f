"""Speaking HTTP/1.1 with a runtime: one request, one answer, over one connection.

An own reader and not a client library, for three reasons: the socket may belong to
another network namespace, an answer without end must not fill our memory, and a warm
run shall cost no task. What it must understand is little, because runtimes are servers
of a few known libraries: a status line, headers, and a body that is counted, chunked or
ends with the connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import msgspec

HEAD_BYTES = 1 << 16
#: No honest size has more.
DIGITS = 15
#: A body may be this many times the limit before we stop counting it.
PATIENCE = 64
_NO_BODY = (204, 304)
_HEXADECIMAL = b"0123456789abcdefABCDEF"
#: What is left to read: all until the connection's end, or lines after the last chunk.
_UNTIL_THE_END, _TRAILERS = -1, -2


class Garbled(Exception):
    """Bytes that are no answer of HTTP, or an answer without end."""


class HttpAnswer(msgspec.Struct, frozen=True):
    """`body` holds at most `limit` + 1 bytes of the `size` that there were."""

    status: int
    body: bytes
    size: int
    keeps_open: bool


class AnswerReader:
    """Assembles one answer; no I/O. `feed` and `end` tell it once it is complete."""

    __slots__ = (
        "_body",
        "_chunk",
        "_head",
        "_limit",
        "_open",
        "_size",
        "_status",
        "_todo",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._body = bytearray()
        self._size = 0
        self._status = 0
        self._open = True
        self._chunk = False
        self._todo = _UNTIL_THE_END  # or bytes of the body, or of its chunk

    @property
    def begun(self) -> bool:
        return bool(self._status or self._head)

    def feed(self, data: bytes) -> HttpAnswer | None:
        """Raises Garbled."""
        if self._status:
            return self._read_body(data)
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > HEAD_BYTES:
                raise Garbled("headers without end")
            return None
        rest = bytes(self._head[end + 4 :])
        self._read_head(bytes(self._head[:end]))
        self._head = bytearray()
        return self._read_body(rest)

    def end(self) -> HttpAnswer | None:
        """The connection was closed: an answer that ends so is complete now."""
        if self._status and not self._chunk and self._todo < 0:
            self._open = False
            return self._answer()
        return None

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        status = rest[:3]
        if not version.startswith(b"HTTP/1.") or not status.isdigit():
            raise Garbled(f"no answer of HTTP: {first[:80]!r}")
        self._status = int(status)
        fields = {
            n.strip().lower(): v.strip()
            for n, _, v in (x.partition(b":") for x in lines)
        }
        self._open = version == b"HTTP/1.1"
        self._open &= fields.get(b"connection", b"").lower() != b"close"
        self._chunk = fields.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = fields.get(b"content-length", b"")
        if self._status in _NO_BODY:
            self._todo = 0
        elif not self._chunk and length:
            if not length.isdigit() or len(length) > DIGITS:
                raise Garbled(f"a length of {length[:20]!r}")
            self._todo = int(length)

    def _read_body(self, data: bytes) -> HttpAnswer | None:
        if self._chunk:
            return self._read_chunks(data)
        self._keep(data if self._todo < 0 else data[: self._todo])
        if self._todo < 0:
            return None
        self._todo -= min(self._todo, len(data))
        return None if self._todo else self._answer()

    def _read_chunks(self, data: bytes) -> HttpAnswer | None:
        """`_todo` counts the rest of a chunk with its line end."""
        while data:
            if self._todo > 0:
                self._keep(data[: max(0, self._todo - 2)])
                taken = min(self._todo, len(data))
                data, self._todo = data[taken:], self._todo - taken
                continue
            self._head += data
            line, newline, data = bytes(self._head).partition(b"\r\n")
            if not newline:
                if len(self._head) > HEAD_BYTES:
                    raise Garbled("a chunk's size without end")
                return None
            self._head = bytearray()
            if self._todo == _TRAILERS:
                if not line:
                    return self._answer()
                continue
            size = _size_of(line)
            self._todo = size + 2 if size else _TRAILERS
        return None

    def _keep(self, data: bytes) -> None:
        room = self._limit + 1 - len(self._body)
        if room > 0:
            self._body += data[:room]
        self._size += len(data)
        if self._size > PATIENCE * self._limit:
            raise Garbled("an answer without end")

    def _answer(self) -> HttpAnswer:
        return HttpAnswer(self._status, bytes(self._body), self._size, self._open)


def _size_of(line: bytes) -> int:
    """Of a chunk: hexadecimal, and what follows a semicolon is nothing to us."""
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > DIGITS or digits.strip(_HEXADECIMAL):
        raise Garbled(f"a chunk of size {line[:20]!r}")
    return int(digits, 16)


#: Called with the answer, or with None when the connection ended without one.
OnAnswer = Callable[[HttpAnswer | None], None]


class Connection(asyncio.Protocol):
    """One connection to a runtime; `ask` once at a time.

    Each answer is acknowledged at once: a runtime that writes its headers before its
    body, without TCP_NODELAY, would wait 40 ms between them.
    """

    def __init__(self, socket: socket.socket) -> None:
        self.closed = False
        self._socket = socket
        self._transport: asyncio.Transport
        self._reader: AnswerReader | None = None
        self._tell: OnAnswer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's is none by name

    def ask(self, path: str, body: bytes, *, limit: int, tell: OnAnswer) -> None:
        self._reader = AnswerReader(limit)
        self._tell = tell
        self._transport.writelines((_head(path, len(body)), body))
        if not self.closed:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def data_received(self, data: bytes) -> None:
        if self._reader is None:  # nobody asked
            self._finish(None)
            return
        try:
            answer = self._reader.feed(data)
        except Garbled:
            self._finish(None)
        else:
            if answer is not None:
                self._finish(answer)

    def eof_received(self) -> bool:
        self._finish(self._reader.end() if self._reader else None)
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._finish(None)

    def close(self) -> None:
        self._tell = None
        self._finish(None)

    def _finish(self, answer: HttpAnswer | None) -> None:
        if answer is None or not answer.keeps_open:
            self.closed = True
            self._transport.close()
        tell, self._tell = self._tell, None
        self._reader = None
        if tell is not None:
            tell(answer)


def _head(path: str, size: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: runtime:8080\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
