"""An answer that is written in one piece.

aiohttp's own response keeps its headers in a multi-dict, serialises them and sends head
and body in three steps; for a small answer that is 12 of the 31 us which the whole
request costs. Here the head is text from the start, most of it made once.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11
from aiohttp.web_request import BaseRequest

from edge_agent import __version__

#: (name, value) pairs.
Lines = tuple[tuple[str, str], ...]
#: A larger body is not copied behind its head.
_COPIED_BYTES = 32 << 10
#: How long an answer that is larger than what the sockets hold may wait for a reader.
READING_TIMEOUT_S = 60.0
_CLOSE = "Connection: close\r\n"
_SERVER = f"edgewhisk/{__version__}"
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
#: A web action may answer with any other status: it has no phrase.
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


class Written(web.StreamResponse):
    """Status, lines and body; `fixed` lines are remembered, so keep them few.

    A 204 and a 304 have no body, and an answer to HEAD sends none. Neither name nor
    value of a line has a line end in it; the caller sees to that.
    """

    def __init__(
        self,
        status: int,
        body: bytes | memoryview = b"",
        *,
        fixed: Lines = (),
        lines: Lines = (),
    ) -> None:
        super().__init__(status=status)
        own = "".join([f"{name}: {value}\r\n" for name, value in lines])
        length = "" if status in _BODILESS else _length(body)
        self._head = f"{_start(status, fixed)}{own}{length}"
        self._text = body
        self._request: BaseRequest | None = None
        self._connection = ""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        self._request = request
        forced = self._keep_alive is False
        self._keep_alive = request.keep_alive and not forced
        self._connection = _CLOSE if forced else _connection(request)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        request = self._request
        if request is None or request.transport is None:
            raise ConnectionResetError("the caller has gone")
        head = self._head_and(self._connection)
        body = b"" if request.method == "HEAD" else self._text
        if len(body) <= _COPIED_BYTES:
            request.transport.write(b"".join((head, body, data)))
        else:
            request.transport.writelines((head, body, data))
        # Whoever does not read their answers gets no further ones.
        if request.transport.get_write_buffer_size():
            await _drain(request)

    def to_bytes(self) -> bytes:
        """All of it, for a connection that is closed then and had no request."""
        return self._head_and(_CLOSE) + self._text

    def _head_and(self, line: str) -> bytes:
        now = f"Date: {_date(int(time.time()))}\r\n{line}\r\n"
        return (self._head + now).encode()


async def _drain(request: BaseRequest) -> None:
    try:
        async with asyncio.timeout(READING_TIMEOUT_S):
            await request.writer.drain()
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the caller does not read the answer") from error


@lru_cache(maxsize=256)
def _start(status: int, fixed: Lines) -> str:
    known = [("Server", _SERVER), *fixed]
    lines = "".join([f"{name}: {value}\r\n" for name, value in known])
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n{lines}"


def _length(body: bytes | memoryview) -> str:
    return f"Content-Length: {len(body)}\r\n"


@lru_cache(maxsize=1)
def _date(epoch_s: int) -> str:
    return formatdate(epoch_s, usegmt=True)


def _connection(request: BaseRequest) -> str:
    if request.version == HttpVersion11:
        return "" if request.keep_alive else _CLOSE
    return "Connection: keep-alive\r\n" if request.keep_alive else ""
