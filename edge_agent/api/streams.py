"""Live streams over HTTP: server-sent events, one JSON text in each `data:` line."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec
from aiohttp import web

from edge_agent.api.answers import SERVICE
from edge_agent.api.call import REQUEST_ID, Call

#: A comment this often keeps a quiet stream's connection alive.
HEARTBEAT_S = 15.0

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Watcher(Protocol):
    """A subscriber of a stream."""

    missed: int

    async def take(self) -> list[Any]: ...


class Watched(Protocol):
    """A stream, of whatever it is."""

    def subscribe(self, namespace: str) -> AbstractContextManager[Watcher]: ...


async def stream_to(call: Call, stream: Watched, namespace: str) -> web.StreamResponse:
    """Send what `stream` tells of `namespace` until the caller goes or we stop.

    A watcher that does not keep up is told how many it missed in a comment.
    """
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        REQUEST_ID: call.transaction_id,
        **dict(SERVICE),
    }
    response = web.StreamResponse(headers=headers)
    stopping = call.services.stopping
    stopped = asyncio.create_task(stopping.wait(), name="stream.stopping")
    try:
        with stream.subscribe(namespace) as subscriber:
            await response.prepare(call.request)
            await response.write(b": connected\n\n")
            while not stopping.is_set():
                await response.write(await _events(subscriber, stopped))
        await response.write_eof()
    except ConnectionError:
        log.debug("a watcher of %s has gone", namespace)
    finally:
        stopped.cancel()
    return response


async def _events(watcher: Watcher, stopped: asyncio.Task[Any]) -> bytes:
    """The text of what came next, or of a heartbeat."""
    missed = watcher.missed
    taking = asyncio.create_task(watcher.take(), name="stream.take")
    try:
        await asyncio.wait(
            {taking, stopped},
            timeout=HEARTBEAT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        records = taking.result() if taking.done() else []
    finally:
        taking.cancel()
    events = [b"data: %b\n\n" % _encode(record) for record in records]
    if watcher.missed > missed:
        events.insert(0, b": missed %d\n\n" % (watcher.missed - missed))
    return b"".join(events) or b": alive\n\n"
