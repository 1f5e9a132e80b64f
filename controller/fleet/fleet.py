"""Several nodes as one: the same on all of them, or the least loaded of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from controller.fleet.client import Client
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError

_Found = TypeVar("_Found")
#: An unreachable node is the last to be chosen.
_AWAY = float("inf")
NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Each(Generic[_Found]):
    """What one node said: `value`, or the error it answered with."""

    target: Target
    value: _Found | None = None
    error: OpenWhiskError | None = None


async def on_each(
    clients: Sequence[Client], do: Callable[[Client], Awaitable[_Found]]
) -> list[Each[_Found]]:
    """Do it on every node at once; a node's refusal leaves the others alone."""

    async def one(client: Client) -> Each[_Found]:
        try:
            return Each(client.target, await do(client))
        except OpenWhiskError as error:
            return Each(client.target, error=error)

    return list(await asyncio.gather(*map(one, clients)))


async def on_all(
    clients: Sequence[Client], do: Callable[[Client], Awaitable[_Found]]
) -> list[tuple[Target, _Found]]:
    """As `on_each`, for what must work on all of them.

    Raises:
        OpenWhiskError: the first node's refusal; it says who did it all the same.
    """
    done = await on_each(clients, do)
    failed = next((each for each in done if each.error is not None), None)
    if failed is not None:
        raise _told(failed, [each for each in done if each.error is None])
    return [(each.target, each.value) for each in done]  # type: ignore[misc]


async def first_found(
    clients: Sequence[Client], do: Callable[[Client], Awaitable[_Found]]
) -> tuple[Target, _Found]:
    """The first node, in their order, that has it.

    Raises:
        OpenWhiskError: none has; another error than 404 is told before a 404.
    """
    done = await on_each(clients, do)
    for each in done:
        if each.error is None:
            return each.target, each.value  # type: ignore[return-value]
    errors = [each.error for each in done if each.error is not None]
    raise min(errors, key=lambda error: error.status == NOT_FOUND)


async def least_loaded(clients: Sequence[Client]) -> Client:
    """The node with the least work for each of its slots; any of equals.

    A host without `/edge/v1` counts as idle: it has a balancer of its own.
    """
    if len(clients) == 1:
        return clients[0]
    loads = await asyncio.gather(*map(load_of, clients))
    ranked = sorted(
        zip(loads, (random.random() for _ in clients), clients, strict=True),  # noqa: S311
        key=lambda entry: entry[:2],
    )
    return ranked[0][2]


async def load_of(client: Client) -> float:
    """Work waiting or running for each slot; infinite when the node is away."""
    try:
        told = await client.edge("load")
    except OpenWhiskError as error:
        return _AWAY if error.status in {0, 429, 503} else 0.0
    return _ratio(told) if isinstance(told, dict) else 0.0


def _ratio(told: dict[str, Any]) -> float:
    work = sum(float(told.get(key) or 0) for key in ("running", "queue", "inbox"))
    return work / max(1.0, float(told.get("slots") or 1))


def _told(failed: Each[_Found], well: Sequence[Each[_Found]]) -> OpenWhiskError:
    """The refusal, with the node's name where others did it."""
    error = failed.error or OpenWhiskError(0, "")
    if not well:
        return error
    names = ", ".join(each.target.name for each in well)
    text = f"{failed.target.name}: {error} (done on {names})"
    return OpenWhiskError(error.status, text, error.code, maybe_done=error.maybe_done)
