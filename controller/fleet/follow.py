"""Following activations as they end.

An agent of ours streams them (`/edge/v1/activations/stream`, server-sent events, one
record in each `data:` line); any other OpenWhisk is asked for its newest every second.
A stream that breaks is opened again, and what ended in between is fetched, so that a
node's restart leaves no gap.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.transport import OpenWhiskError
from edge_agent.model.activations import ActivationRecord

if TYPE_CHECKING:
    from controller.fleet.client import Client

POLL_S = 1.0
REOPEN_S = 1.0
#: An idle stream is opened again after this: a dead peer is not noticed otherwise.
IDLE_S = 300.0
SEEN_MOST = 2_000
#: What a host answers that has no such stream, or none for this key.
_NO_STREAM = frozenset({401, 403, 404, 405, 501})

_RECORD = msgspec.json.Decoder(ActivationRecord)


class _NoStream(Exception):
    """This host does not stream."""


class _Seen:
    """The ids shown last: polls overlap on purpose."""

    def __init__(self) -> None:
        self._order: deque[str] = deque(maxlen=SEEN_MOST)
        self._ids: set[str] = set()

    def is_new(self, activation_id: str) -> bool:
        if activation_id in self._ids:
            return False
        if len(self._order) == SEEN_MOST:
            self._ids.discard(self._order[0])
        self._order.append(activation_id)
        self._ids.add(activation_id)
        return True


async def follow(client: Client) -> AsyncIterator[ActivationRecord]:
    """Records of activations that end from now on; never ends by itself.

    Raises:
        OpenWhiskError: the host refuses (a wrong key), or is not there at the start.
    """
    since = int(time.time() * 1000)
    seen = _Seen()
    await client.list_activations(limit=1)
    try:
        while True:
            opened = int(time.time() * 1000)
            async for record in _stream(client):
                if seen.is_new(record.activation_id):
                    yield record
            await asyncio.sleep(REOPEN_S)
            async for record in _newer(client, since, seen):
                yield record
            since = opened
    except _NoStream:
        async for record in _poll(client, since, seen):
            yield record


async def _stream(client: Client) -> AsyncIterator[ActivationRecord]:
    """Until the stream ends or breaks."""
    url = URL(f"{client.target.url}/edge/v1/activations/stream", encoded=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=IDLE_S)
    try:
        async with client.session.get(
            url, timeout=timeout, ssl=not client.target.insecure
        ) as answer:
            if answer.status in _NO_STREAM:
                raise _NoStream
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield _RECORD.decode(line[5:])
    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
        return


async def _poll(
    client: Client, since: int, seen: _Seen
) -> AsyncIterator[ActivationRecord]:
    while True:
        asked = int(time.time() * 1000)
        async for record in _newer(client, since, seen):
            yield record
        since = max(since, asked - int(POLL_S * 10_000))
        await asyncio.sleep(POLL_S)


async def _newer(
    client: Client, since: int, seen: _Seen
) -> AsyncIterator[ActivationRecord]:
    """What has started since and is not shown yet, oldest first; none when down."""
    try:
        found = await client.list_activations(since=since, limit=200)
        for item in reversed(found):
            if seen.is_new(item.activation_id):
                yield await client.get_activation(item.activation_id)
    except OpenWhiskError as error:
        if error.status not in {0, 404, 429, 503}:
            raise
