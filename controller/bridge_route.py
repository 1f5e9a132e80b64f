"""Which nodes an event of the bridge may go to, the best one first. Pure.

    least-load         the node with the least work for its slots (the default)
    {key: EXPRESSION}  the same node for the same key (rendezvous hashing): a sensor
                       stays on one node, and when a node comes or goes only its own
                       share of the keys moves
    topic              the node that the level `{node}` of the topic names
    broadcast          every node

`down` says what becomes of an event whose node is away or refuses: `another` takes it,
or it is left to the broker until its node is there (`wait`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from edge_agent.events.mapping import ConfigError, Expression

NODE_LEVEL = "node"


class How(StrEnum):
    LEAST_LOAD = "least-load"
    KEY = "key"
    TOPIC = "topic"
    BROADCAST = "broadcast"


class Down(StrEnum):
    ANOTHER = "another"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """One entry's. `key` is there where `how` is KEY."""

    how: How = How.LEAST_LOAD
    down: Down = Down.ANOTHER
    key: Expression | None = None


class Candidate(Protocol):
    """What is known of a node."""

    @property
    def name(self) -> str: ...

    @property
    def away(self) -> bool: ...

    @property
    def load(self) -> tuple[float, int]: ...


Node = TypeVar("Node", bound=Candidate)

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def key_of(policy: RoutePolicy, payload: bytes) -> str:
    """What the choice depends on; empty where it depends on the nodes alone."""
    if policy.how is How.TOPIC:
        return str(_decode(payload).get(NODE_LEVEL, ""))
    if policy.key is None:
        return ""
    try:
        value = policy.key.of(_decode(payload))
    except ValueError:  # it does not fit the message: those share one node
        return ""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()


def ranked(policy: RoutePolicy, nodes: Sequence[Node], key: str) -> list[Node]:
    """The nodes that may be tried now, in this order; empty: none, try again later."""
    by_load = sorted(
        (node for node in nodes if not node.away), key=lambda node: node.load
    )
    match policy.how:
        case How.LEAST_LOAD | How.BROADCAST:
            return by_load
        case How.KEY:
            order = sorted(nodes, key=lambda node: weight(key, node.name), reverse=True)
            first, others = order[:1], [node for node in order[1:] if not node.away]
        case How.TOPIC:
            first = [node for node in nodes if node.name == key]
            others = [node for node in by_load if node.name != key]
    here = [node for node in first if not node.away]
    return here if policy.down is Down.WAIT else here + others


def weight(key: str, name: str) -> bytes:
    """The node with the highest one has the key."""
    return hashlib.blake2b(f"{key}\0{name}".encode(), digest_size=8).digest()


def parse_route(given: Mapping[str, Any]) -> RoutePolicy:
    """Read `route` and `down` of an entry.

    Raises:
        ConfigError: naming the key.
    """
    how, key = _how(given.get("route", How.LEAST_LOAD))
    if how is How.TOPIC and f"{{{NODE_LEVEL}}}" not in str(given.get("topic")):
        raise ConfigError("route", "topic: the topic needs a level {node}")
    if "batch" in given and how in (How.KEY, How.TOPIC):
        raise ConfigError("route", f"{how} does not go with batch")
    default = Down.WAIT if how is How.TOPIC else Down.ANOTHER
    try:
        return RoutePolicy(how, Down(given.get("down", default)), key)
    except ValueError as error:
        problem = f"expected another or wait, got {given.get('down')!r}"
        raise ConfigError("down", problem) from error


def _how(given: Any) -> tuple[How, Expression | None]:
    if isinstance(given, Mapping) and set(given) == {"key"}:
        return How.KEY, Expression(given["key"], key="route.key")
    if given in (How.LEAST_LOAD, How.TOPIC, How.BROADCAST):
        return How(given), None
    problem = f"expected least-load, topic, broadcast or {{key: ...}}, got {given!r}"
    raise ConfigError("route", problem)
