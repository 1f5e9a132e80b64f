"""`/edge/v1`: what is ours and not OpenWhisk's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import msgspec
from aiohttp import web

from edge_agent.api.answers import SERVICE, answer_json
from edge_agent.api.auth import check_system
from edge_agent.api.call import REQUEST_ID, Call
from edge_agent.api.written import Written
from edge_agent.model.activations import ActivationRecord

#: A comment this often keeps a quiet stream's connection alive.
HEARTBEAT_S = 15.0

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Watcher(Protocol):
    """A subscriber of the stream."""

    missed: int

    async def take(self) -> list[ActivationRecord]: ...


async def node(call: Call) -> Written:
    check_system(call)
    return answer_json(call, call.services.health.report(), cors=SERVICE)


async def load(call: Call) -> Written:
    return answer_json(call, call.services.load(), cors=SERVICE)


async def stream(call: Call) -> web.StreamResponse:
    """The caller's activations as they end: server-sent events, `data: <record>`.

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
        with call.services.stream.subscribe(call.identity.namespace) as subscriber:
            await response.prepare(call.request)
            await response.write(b": connected\n\n")
            while not stopping.is_set():
                await response.write(await _events(subscriber, stopped))
        await response.write_eof()
    except ConnectionError:
        log.debug("a watcher of %s has gone", call.identity.namespace)
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
