"""What a target allows a load test to do; asked once, before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp

from controller.fleet.client import Client
from controller.fleet.retry import Retry
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError
from controller.loadtest.errors import BadLoadtest
from controller.loadtest.plan import LANGUAGES, Terms

TIMEOUT_S = 10.0


def ask(target: Target, *, quick: bool, broker: str) -> Terms:
    """Find out.

    Raises:
        BadLoadtest: the host cannot be reached, or refuses the key.
    """
    return asyncio.run(_ask(target, quick=quick, broker=broker))


async def _ask(target: Target, *, quick: bool, broker: str) -> Terms:
    retry = Retry(attempts=1)
    async with Client(target, retry=retry, timeout_s=TIMEOUT_S) as client:
        await _check_key(client)
        return Terms(
            quick=quick,
            slots=await _has_settings(client),
            languages=await _languages(client.session, target),
            broker=broker,
        )


async def _check_key(client: Client) -> None:
    try:
        await client.list_actions(limit=1)
    except OpenWhiskError as error:
        url, text = client.target.url, str(error)
        named = text if url in text else f"{url}: {text}"
        raise BadLoadtest(named) from error


async def _has_settings(client: Client) -> bool:
    try:
        await client.edge("settings")
    except OpenWhiskError:
        return False
    return True


async def _languages(session: aiohttp.ClientSession, target: Target) -> tuple[str, ...]:
    """Of those we write actions in; where GET / is hidden, both are tried."""
    try:
        async with session.get(target.url) as answer:
            document: Any = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return LANGUAGES
    runtimes = document.get("runtimes") if isinstance(document, Mapping) else None
    if not isinstance(runtimes, Mapping):
        return LANGUAGES
    return tuple(each for each in LANGUAGES if runtimes.get(each)) or LANGUAGES
