"""What the MQTT source must not forget beside its subscriptions.

- `lanes`: which connection of its identity a subscription is on, if not the first.
- `leftovers`: filters that a broker's session may still have though nobody wants them,
  because it was away when they went. They are forgotten when the broker has let go of
  them, or its session is over by itself.

Both are notes of the source's state, written lazily: what a crash takes away costs a
duplicate, or a filter that stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from edge_agent.events.base import NotedState
from edge_agent.events.identity import BrokerIdentity
from edge_agent.events.topics import TopicFilter

LANES = "mqtt lanes"
LEFTOVERS = "mqtt leftovers"
#: More are not remembered: the oldest are given up.
LEFTOVERS_MOST = 1000


class Leftover(msgspec.Struct, frozen=True):
    """`config` is the subscription's that made the connection."""

    namespace: str
    config: dict[str, Any]
    filter: str
    lane: int
    until_ms: int


_encode = msgspec.json.Encoder().encode
_lanes = msgspec.json.Decoder(dict[str, int])
_leftovers = msgspec.json.Decoder(list[Leftover])

Place = tuple[BrokerIdentity, TopicFilter]


class Memory:
    """Owns both notes."""

    def __init__(self, state: NotedState) -> None:
        self._state = state
        self._lanes: dict[str, int] = {}
        self._leftovers: dict[Place, Leftover] = {}

    def load(self, now_ms: int) -> list[Leftover]:
        """Read them; the leftovers that may still be somewhere."""
        note = self._state.note(LANES)
        self._lanes = _lanes.decode(note) if note else {}
        kept = self._state.note(LEFTOVERS)
        found = _leftovers.decode(kept) if kept else []
        return [one for one in found if one.until_ms > now_ms]

    def lane(self, subscription: str) -> int:
        return self._lanes.get(subscription, 0)

    def set_lane(self, subscription: str, lane: int) -> None:
        if lane == self._lanes.get(subscription, 0):
            return
        self._lanes[subscription] = lane
        if not lane:
            del self._lanes[subscription]
        note = _encode(self._lanes) if self._lanes else None
        self._state.keep_note(LANES, note)

    def leave(self, identity: BrokerIdentity, leftovers: Iterable[Leftover]) -> None:
        for one in leftovers:
            self._leftovers[identity, TopicFilter(one.filter)] = one
        while len(self._leftovers) > LEFTOVERS_MOST:
            del self._leftovers[next(iter(self._leftovers))]
        self._write()

    def let_go(self, identity: BrokerIdentity, one: TopicFilter) -> None:
        if self._leftovers.pop((identity, one), None) is not None:
            self._write()

    def _write(self) -> None:
        left = list(self._leftovers.values())
        self._state.keep_note(LEFTOVERS, _encode(left) if left else None)
