"""Following activations as they end.

An agent of ours streams them (`/edge/v1/activations/stream`, server-sent events, one
record in each `data:` line); any other OpenWhisk is asked for its newest every second.
Whenever a stream begins, what has ended since the last one is fetched, so that a
node's restart leaves no gap.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.transport import CONNECT_TIMEOUT_S, OpenWhiskError
from edge_agent.model.activations import ActivationRecord, ActivationSummary

if TYPE_CHECKING:
    from controller.fleet.client import Client

POLL_S = 1.0
REOPEN_S = 0.5
#: The agent sends a comment every 15 s; a stream quiet for longer is dead.
IDLE_S = 60.0
#: A result of 1 MB and 10 MB of logs, with room for escapes.
LINE_MOST = 32 << 20
#: The longest an action runs: it may have started that long before it ended.
LONGEST_MS = 300_000
#: A record may be written that long after its end (A46).
LATE_MS = 5_000
SEEN_MOST = 10_000
PAGE = 200
#: What a host answers that has no such stream, or none for this key.
_NO_STREAM = frozenset({400, 401, 403, 404, 405, 501})
#: Errors that pass: the node is away or busy, or the record is not written yet.
_PASSING = frozenset({0, 404, 429, 502, 503})

_RECORD = msgspec.json.Decoder(ActivationRecord)


class _NoStream(Exception):
    """This host does not stream."""


class _Seen:
    """The ids shown last: polls overlap on purpose."""

    def __init__(self) -> None:
        self._order: deque[str] = deque()
        self._ids: set[str] = set()

    def is_new(self, activation_id: str) -> bool:
        if activation_id in self._ids:
            return False
        if len(self._order) == SEEN_MOST:
            self._ids.discard(self._order.popleft())
        self._order.append(activation_id)
        self._ids.add(activation_id)
        return True


async def follow(
    client: Client, *, on_connected: Callable[[], None] = lambda: None
) -> AsyncIterator[ActivationRecord]:
    """Records of activations that end from now on; never ends by itself.

    `on_connected` is called whenever the host has begun to tell.

    Raises:
        OpenWhiskError: the host refuses (a wrong key), or is not there at the start.
    """
    since = _now_ms()
    seen = _Seen()
    await client.list_activations(limit=1)
    try:
        while True:
            async for record in _stream(client):
                if record is None:
                    on_connected()
                    async for missed in _newer(client, since, seen):
                        yield missed
                elif seen.is_new(record.activation_id):
                    since = _now_ms()
                    yield record
            await asyncio.sleep(REOPEN_S)
    except _NoStream:
        on_connected()
    while True:
        asked = _now_ms()
        async for missed in _newer(client, since, seen):
            yield missed
        since = max(since, asked - LATE_MS)
        await asyncio.sleep(POLL_S)


async def _stream(client: Client) -> AsyncIterator[ActivationRecord | None]:
    """None when it has begun, then records, until it ends or breaks."""
    url = URL(f"{client.target.url}/edge/v1/activations/stream", encoded=True)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=IDLE_S
    )
    try:
        async with client.session.get(
            url, timeout=timeout, ssl=not client.target.insecure
        ) as answer:
            if answer.status in _NO_STREAM:
                raise _NoStream
            async for line in _lines(answer.content):
                if line.startswith(b": connected"):
                    yield None
                elif line.startswith(b"data:"):
                    yield _RECORD.decode(line[5:])
    except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.MsgspecError):
        return


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to `LINE_MOST`; a record is one, with result and logs."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join([*parts, line])
            parts = []
        parts.append(rest)
        if sum(map(len, parts)) > LINE_MOST:
            raise ValueError(f"a line of more than {LINE_MOST} bytes")


async def _newer(
    client: Client, since: int, seen: _Seen
) -> AsyncIterator[ActivationRecord]:
    """What has ended since and was not shown yet, oldest first; none when away."""
    try:
        found = await client.list_activations(since=since - LONGEST_MS, limit=PAGE)
        for item in reversed(found):
            if _end_ms(item) >= since and seen.is_new(item.activation_id):
                yield await client.get_activation(item.activation_id)
    except OpenWhiskError as error:
        if error.status not in _PASSING:
            raise


def _end_ms(item: ActivationSummary) -> int:
    """Triggers have no end (B28)."""
    return item.end if isinstance(item.end, int) else item.start


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
