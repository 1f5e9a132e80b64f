"""What feeds keep: the subscriptions of triggers, and results on their way out."""

from __future__ import annotations

from typing import Any

import msgspec


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger asked of a feed: its id (`ns/trigger`) and its parameters.

    A paused subscription is kept but not `active`; `changed` is epoch ms.
    """

    id: str
    namespace: str
    feed: str
    config: dict[str, Any]
    active: bool = True
    changed: int = 0


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A result on its way to a topic; kept in the outbox until it is acknowledged.

    `broker` is empty for the default one; it is reached as `namespace` reaches it, or
    as the subscription `via` does. `correlation` goes along as MQTT 5 has it.
    """

    id: str
    namespace: str = ""
    broker: str = ""
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    correlation: bytes | None = None
    via: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a request wants its answer; kept with the work it started."""

    topic: str
    correlation: bytes | None = None
    broker: str = ""
    via: str = ""
