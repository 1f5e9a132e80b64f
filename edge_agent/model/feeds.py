"""What feeds keep: the subscriptions of triggers, and results on their way out."""

from __future__ import annotations

from typing import Any

import msgspec


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger asked of a feed: its id (`ns/trigger`) and its parameters."""

    id: str
    namespace: str
    feed: str
    config: dict[str, Any]


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A result on its way to a topic; kept in the outbox until it is acknowledged."""

    id: str
    broker: str
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
