"""What a source of events is handed and what it offers.

A *source* watches the world (a broker, a pin, a clock) for its *subscriptions*, each of
which belongs to one trigger (on a node) or one mapping entry (in the bridge). What it
sees becomes an `Event`, which it hands to a `Sink`; only when the sink's future says
KEPT or UNWANTED may the source give its receipt (the PUBACK). `Sink` is the node's
engine or the bridge's fleet: the source cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from edge_agent.model.errors import BuiltinError
from edge_agent.model.feeds import Outgoing, Reply, Subscription

__all__ = [
    "BuiltinError",
    "ConfigError",
    "Event",
    "NotedState",
    "Outgoing",
    "Receipt",
    "Reply",
    "Sink",
    "Source",
    "SourceState",
    "Subscription",
]


class ConfigError(BuiltinError):
    """A parameter is wrong; the text begins with its name."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `subscription` is the id it was asked for under.

    `payload` is the JSON text of an object; `origin` says where from, for logs
    (`mqtt:sensors/kitchen/temp`). `dedup` is a key and a window in ms: an event whose
    key was committed within the window is KEPT and counted, but starts nothing.
    `reply` says where the results of what it starts are wanted.
    """

    subscription: str
    payload: bytes
    origin: str
    dedup: tuple[str, int] | None = None
    reply: Reply | None = None


class Receipt(StrEnum):
    """What became of an event."""

    #: Committed to disk (or accepted by a node that did): acknowledge.
    KEPT = "kept"
    #: Nothing wants it (no active rule): acknowledge and count.
    UNWANTED = "unwanted"
    #: No room or no node now: do not acknowledge, offer it again later.
    REFUSED = "refused"


class Sink(Protocol):
    """Takes events. Never raises; the future never fails."""

    def __call__(self, event: Event) -> asyncio.Future[Receipt]: ...


class SourceState(Protocol):
    """A source's durable memory; `store` implements it and `app` hands it over.

    The coroutines return when the change is on disk.
    """

    def subscriptions(self, feed: str) -> list[Subscription]: ...

    async def save(self, subscription: Subscription) -> None: ...

    async def forget(self, subscription_id: str) -> None: ...

    async def outbox(self, after: str, *, most: int) -> list[Outgoing]:
        """What was published and never acknowledged, the first `most` behind an id."""
        ...

    def sent(self, outgoing_id: str) -> None:
        """Delete from the outbox, lazily."""
        ...


class NotedState(SourceState, Protocol):
    """A durable memory with room for a few bytes of the source's own under a key."""

    def note(self, key: str) -> bytes | None: ...

    def keep_note(self, key: str, doc: bytes | None, *, along: bool = False) -> None:
        """Keep them lazily, or forget them; never fails.

        `along`: in one transaction with what the sink was handed in this turn of the
        loop, so that a crash finds both or neither.
        """
        ...


class Source(Protocol):
    """A source. `health` is what `/edge/v1/node` shows of it, JSON-ready."""

    async def run(self) -> None:
        """Watch until cancelled. A world that is down is retried, never raised."""
        ...

    def health(self) -> Mapping[str, Any]: ...
