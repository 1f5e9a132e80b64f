"""Which subscriptions a message is for. Pure, but for a cache.

Triggers with the same filter share one subscription at the broker. Filters may overlap;
each trigger must still be fired once per message:

- MQTT 5: every filter has a Subscription Identifier. The broker sends a copy for each
  filter that matches (mosquitto) or one copy with several identifiers; either way each
  copy goes to the triggers of its identifiers. An identifier is made from the filter's
  text, so it means the same after a restart, when the broker still has messages queued
  under it. A message with an identifier that is not known is a leftover of a
  subscription that is gone.
- 3.1.1: a message goes to every trigger whose filter matches. A broker may send a copy
  for each overlapping filter (amqtt does, mosquitto does not), so a filter that is
  covered by another one is not subscribed at all. What overlaps only in part (`a/+`
  and `+/b`) is told by `overlapping`, and goes to a connection of its own.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from edge_agent.events.mapping import AT_ONCE, PLAIN, MqttConfig, Retained
from edge_agent.events.pace import Pace, Throttle
from edge_agent.events.shape import Shape
from edge_agent.events.topics import TopicFilter

MOST_IDENTIFIERS = 268_435_455
#: Topics whose routes are remembered; sensors use the same ones over and over.
CACHE_MOST = 4096
#: Retained topics that one route remembers.
GREETED_MOST = 10_000


class Handling(IntEnum):
    """MQTT 5: when a subscription makes the broker send what it has retained."""

    ALWAYS = 0
    WHEN_NEW = 1
    NEVER = 2


@dataclass(slots=True)
class Counts:
    """What became of messages, since the start."""

    received: int = 0
    acknowledged: int = 0
    unwanted: int = 0
    refused: int = 0
    malformed: int = 0
    filtered: int = 0
    retained: int = 0
    throttled: int = 0
    debounced: int = 0


@dataclass(slots=True, eq=False)
class Route:
    """One subscription and what becomes of its messages.

    `fresh` until the connection it was first granted on is over; `leaving` when it is
    subscribed on another connection, and only what the broker had queued here is taken.
    """

    subscription: str
    filter: TopicFilter
    qos: int = 1
    shape: Shape = PLAIN
    pace: Pace = AT_ONCE
    retained: Retained = Retained.FIRST
    respond: bool = False
    counts: Counts = field(default_factory=Counts)
    fresh: bool = False
    leaving: bool = False
    throttle: Throttle | None = None
    #: Topics whose retained message it has had: the broker may send it again for
    #: another trigger of the same filter.
    greeted: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, subscription: str, config: MqttConfig, *, fresh: bool) -> Route:
        interval = config.pace.throttle
        return cls(
            subscription,
            config.topic,
            config.qos,
            config.shape,
            config.pace,
            config.retained,
            config.respond,
            fresh=fresh,
            throttle=None if interval is None else Throttle(interval),
        )

    def greets(self, topic: str) -> bool:
        """Whether a retained message on the topic is the first one."""
        if topic in self.greeted:
            return False
        if len(self.greeted) >= GREETED_MOST:
            self.greeted.clear()
        self.greeted.add(topic)
        return True

    @property
    def handling(self) -> Handling:
        if self.retained is Retained.IGNORE:
            return Handling.NEVER
        always = self.retained is Retained.ALL or self.fresh
        return Handling.ALWAYS if always else Handling.WHEN_NEW


class Routes:
    """The subscriptions of one connection."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._by_filter: dict[TopicFilter, list[Route]] = {}
        self._by_identifier: dict[int, TopicFilter] = {}
        self._cache: dict[tuple[str, tuple[int, ...]], tuple[Route, ...]] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes.values())

    def get(self, subscription: str) -> Route | None:
        return self._routes.get(subscription)

    def add(self, route: Route) -> None:
        """Take `route` instead of what its subscription had."""
        self._routes[route.subscription] = route
        self._index()

    def remove(self, subscription: str) -> None:
        if self._routes.pop(subscription, None) is not None:
            self._index()

    def wanted(self, *, identifiers: bool) -> dict[TopicFilter, int]:
        """The filters to subscribe to and their QoS.

        Without `identifiers` those that others cover are left out.
        """
        qos: dict[TopicFilter, int] = {}
        for route in self._routes.values():
            if not route.leaving:
                qos[route.filter] = max(route.qos, qos.get(route.filter, 0))
        return qos if identifiers else _uncovered(qos)

    def handling(self, topic_filter: TopicFilter) -> Handling:
        """What the eagerest route of a filter wants of retained messages."""
        return min(
            (r.handling for r in self._by_filter.get(topic_filter, ())),
            default=Handling.NEVER,
        )

    def overlapping(self) -> list[Route]:
        """Those whose filter overlaps in part with the one of an older route."""
        kept: list[TopicFilter] = []
        found = []
        for route in self._routes.values():
            one = route.filter
            if any(one.crosses(other) for other in kept):
                found.append(route)
            else:
                kept.append(one)
        return found

    def identifier(self, topic_filter: TopicFilter) -> int:
        return next(i for i, f in self._by_identifier.items() if f == topic_filter)

    def of(self, topic: str, identifiers: tuple[int, ...]) -> tuple[Route, ...]:
        """The routes of a message, each once."""
        key = (topic, identifiers)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= CACHE_MOST:
                self._cache.clear()
            found = self._cache[key] = tuple(self._find(topic, identifiers))
        return found

    def _find(self, topic: str, identifiers: tuple[int, ...]) -> Iterable[Route]:
        if identifiers:
            known = (self._by_identifier.get(one) for one in dict.fromkeys(identifiers))
            filters = [one for one in known if one is not None]
        else:
            filters = list(self._by_filter)
        for one in filters:
            if one.matches(topic):
                yield from self._by_filter[one]

    def _index(self) -> None:
        by_filter = defaultdict(list)
        for route in self._routes.values():
            by_filter[route.filter].append(route)
        self._by_filter = dict(by_filter)
        self._by_identifier = _identify(self._by_filter)
        self._cache.clear()


def _identify(filters: Iterable[TopicFilter]) -> dict[int, TopicFilter]:
    known: dict[int, TopicFilter] = {}
    for one in sorted(filters, key=str):
        identifier = zlib.crc32(str(one).encode()) % MOST_IDENTIFIERS + 1
        while identifier in known:
            identifier = identifier % MOST_IDENTIFIERS + 1
        known[identifier] = one
    return known


def _uncovered(qos: dict[TopicFilter, int]) -> dict[TopicFilter, int]:
    """Keep what no other filter covers; a cover has the highest QoS below it."""
    kept: dict[TopicFilter, int] = {}
    for one, level in sorted(qos.items(), key=lambda item: len(item[0].levels)):
        cover = next((k for k in kept if k.covers(one)), None)
        if cover is not None:
            kept[cover] = max(kept[cover], level)
            continue
        below = [k for k in kept if one.covers(k)]
        kept[one] = max([level, *(kept.pop(k) for k in below)])
    return kept
