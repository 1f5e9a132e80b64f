"""A load generator of one process: raw HTTP/1.1 over asyncio, no pipelining.

Each connection sends the same bytes again as soon as its answer is whole. Nothing is
parsed but status and length, so one core of ours asks faster than one core of theirs
answers; `busy` says how near it came to being the bottleneck itself.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from edge_agent.model.errors import EdgeWhiskError

CONNECT_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 120.0
HTTP_PORT = 80
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class BenchError(EdgeWhiskError):
    """Nothing can be measured; the text says why."""

    exit_code = 1


@dataclass(frozen=True)
class Request:
    """What every connection sends; `expect` is the only status that counts."""

    url: str
    body: bytes = b""
    method: str = "POST"
    authorization: str = ""
    expect: int = 200

    def wire(self) -> bytes:
        parts = urlsplit(self.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"{self.method} {path or '/'} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
        ]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass
class Measured:
    """Answers in time; `busy` is the share of it that the generator computed."""

    seconds: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    busy: float = 0.0

    @property
    def rate_per_s(self) -> float:
        return len(self.latencies_ns) / self.seconds

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.latencies_ns) / 1e6

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_ns)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e6


def drive(
    request: Request,
    *,
    connections: int,
    seconds: float = 0.0,
    count: int = 0,
    keep: bool = False,
) -> Measured:
    """Ask over `connections` for so many `seconds`, or until `count` were answered.

    Args:
        request: the same for all.
        connections: opened before the clock starts; one question each at a time.
        seconds: how long; 0 when `count` says how many.
        count: how many in all.
        keep: keep the bodies of the answers.

    Raises:
        BenchError: an answer was not the expected one, or none came.
    """
    run = _Run(request, seconds=seconds, count=count, keep=keep)
    measured: Measured = _runner()(run.go(connections))
    return measured


def _runner() -> Callable[..., Any]:
    """Uvloop's where it is installed: half the work for each request."""
    try:
        import uvloop  # noqa: PLC0415 a part of the agent's extra only
    except ImportError:
        return asyncio.run
    return cast("Callable[..., Any]", uvloop.run)


class _Run:
    """What the connections of one measurement share."""

    def __init__(
        self, request: Request, *, seconds: float, count: int, keep: bool
    ) -> None:
        self.wire = request.wire()
        self.expect = b" %d " % request.expect
        self.measured = Measured()
        self.keep = keep
        self._url = urlsplit(request.url)
        self._seconds = seconds
        self._left = count
        self._deadline_ns = 0
        self._open = 0
        self._wrong: Counter[str] = Counter()
        self._over: asyncio.Future[None] | None = None

    async def go(self, connections: int) -> Measured:
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        clients = [await self._connect(loop) for _ in range(connections)]
        self._open = connections
        cpu, begun = time.process_time(), time.perf_counter_ns()
        if self._seconds:
            self._deadline_ns = begun + int(self._seconds * 1e9)
        for client in clients:
            client.ask()
        try:
            await asyncio.wait_for(self._over, self._seconds + STALL_TIMEOUT_S)
        except TimeoutError as error:
            raise BenchError(f"{self._url.netloc}: an answer never came") from error
        spent = (time.perf_counter_ns() - begun) / 1e9
        self.measured.seconds = self._seconds or spent
        self.measured.busy = (time.process_time() - cpu) / spent
        return self._checked()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        host, port = self._url.hostname or "", self._url.port or HTTP_PORT
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self), host, port
                )
        except OSError as error:
            raise BenchError(f"{self._url.netloc}: no connection: {error}") from error
        return connection

    def _checked(self) -> Measured:
        if self._wrong:
            said = ", ".join(f"{n} x {what}" for what, n in self._wrong.most_common(3))
            raise BenchError(f"{self._url.netloc}: not the expected answer: {said}")
        if not self.measured.latencies_ns:
            raise BenchError(f"{self._url.netloc}: nothing was answered in time")
        return self.measured

    def may_ask(self, now_ns: int) -> bool:
        if self._deadline_ns:
            return now_ns < self._deadline_ns
        self._left -= 1
        return self._left >= 0

    def answered(self, asked_ns: int, now_ns: int, head: bytes, body: bytes) -> None:
        if self.expect not in head[:16]:
            self.wrong(f"{head[9:12].decode('latin-1')} {body[:200]!r}")
        elif not self._deadline_ns or now_ns <= self._deadline_ns:
            self.measured.latencies_ns.append(now_ns - asked_ns)
            if self.keep:
                self.measured.bodies.append(body)

    def wrong(self, what: str) -> None:
        self._wrong[what] += 1

    def ended(self) -> None:
        self._open -= 1
        if self._open == 0 and self._over is not None and not self._over.done():
            self._over.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._asked_ns = 0
        self._chunks: list[bytes] = []
        self._missing = 0
        self._head_end = -1
        self._done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        connected: socket.socket = transport.get_extra_info("socket")
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        now = time.perf_counter_ns()
        if not self._run.may_ask(now):
            self._end()
            return
        self._asked_ns = now
        self._transport.write(self._run.wire)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        if self._head_end < 0:
            self._read_head()
        else:
            self._missing -= len(data)
        if self._head_end >= 0 and self._missing <= 0:
            self._whole(time.perf_counter_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done:
            self._run.wrong(f"connection closed: {exc or 'by the server'}")
            self._end()

    def _read_head(self) -> None:
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        data = self._chunks[0]
        end = data.find(_HEAD_END)
        if end < 0:
            return
        self._head_end = end + len(_HEAD_END)
        head = data[:end].lower()
        at = head.find(_LENGTH)
        if at < 0:
            self._run.wrong("an answer without Content-Length")
            self._end()
            return
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        self._missing = self._head_end + length - len(data)

    def _whole(self, now_ns: int) -> None:
        first = self._chunks[0]
        keep = self._run.keep or not first.startswith(b"HTTP/1.1 2")
        body = b"".join(self._chunks)[self._head_end :] if keep else b""
        self._chunks, self._head_end = [], -1
        self._run.answered(self._asked_ns, now_ns, first, body)
        self.ask()

    def _end(self) -> None:
        if not self._done:
            self._done = True
            self._transport.close()
            self._run.ended()
