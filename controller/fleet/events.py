"""Accepted events of nodes of ours: those that wait, and dead letters.

Only an agent of ours has them (`/edge/v1/events`); any other host answers 404 or 405.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.client import Client
from controller.fleet.transport import CONNECT_TIMEOUT_S, OpenWhiskError
from edge_agent.model.backlog import EventItem, EventPage, EventView, Replayed, Swept
from edge_agent.model.delivery import Happening

PAGE = 200
REOPEN_S = 0.5
#: The agent sends a comment every 15 s; a stream quiet for longer is dead.
IDLE_S = 60.0

_HAPPENING = msgspec.json.Decoder(Happening)
_Wanted = TypeVar("_Wanted")


async def list_events(client: Client, *, state: str, limit: int) -> list[EventItem]:
    """Dead letters, then what waits, each oldest first; `state` may be one of them."""
    found: list[EventItem] = []
    after = ""
    while len(found) < limit:
        asked = {"limit": min(PAGE, limit - len(found)), "after": after, "state": state}
        query = urlencode({key: value for key, value in asked.items() if value})
        page = _as(EventPage, await client.edge(f"events?{query}"))
        found += page.events
        if not isinstance(page.after, str):
            break
        after = page.after
    return found


async def get_event(client: Client, activation_id: str) -> EventView:
    return _as(EventView, await client.edge(_path(activation_id)))


async def replay_event(client: Client, activation_id: str) -> Replayed:
    told = await client.edge(_path(activation_id), method="POST")
    return _as(Replayed, told)


async def drop_event(client: Client, activation_id: str) -> None:
    await client.edge(_path(activation_id), method="DELETE")


async def sweep(client: Client, method: str, *, reason: str | None) -> Swept:
    """Replay (POST) or drop (DELETE) every dead letter, or those of a reason."""
    query = f"?reason={quote(reason)}" if reason else ""
    return _as(Swept, await client.edge(f"events{query}", method=method))


async def watch_events(client: Client) -> AsyncIterator[Happening]:
    """What happens to events from now on; opened again whenever it breaks.

    Raises:
        OpenWhiskError: the host has no such stream, or refuses.
    """
    url = URL(f"{client.target.url}/edge/v1/events/stream", encoded=True)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=IDLE_S
    )
    while True:
        try:
            async with client.session.get(
                url,
                timeout=timeout,
                ssl=not client.target.insecure,
                headers=client.edge_headers,
            ) as answer:
                if answer.status != 200:  # noqa: PLR2004
                    raise OpenWhiskError(answer.status, "the host does not tell events")
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        yield _HAPPENING.decode(line[5:])
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass
        await asyncio.sleep(REOPEN_S)


def _path(activation_id: str) -> str:
    return f"events/{quote(activation_id, safe='')}"


def _as(kind: type[_Wanted], told: Any) -> _Wanted:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise OpenWhiskError(0, f"the answer is no list of events: {error}") from error
