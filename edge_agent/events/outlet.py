"""Messages on their way out of one connection, across its reconnects.

At most `most` (what the broker takes at once) are unacknowledged, the others wait in
order. When the connection is lost, what was not acknowledged goes back to the front and
is sent again on the next one: at-least-once. The queue is bounded: full means that
`put` takes no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.events.packets import FIRST_REFUSAL, encode_publish

MOST_WAITING = 2000
MOST_WAITING_BYTES = 16 << 20
#: Reasons of a PUBACK that tell of the broker, not of the message: unspecified,
#: implementation specific, packet identifier in use, quota exceeded.
PASSING = frozenset((0x80, 0x83, 0x91, 0x97))
#: Room for header, packet id, lengths and properties.
OVERHEAD_BYTES = 16


class Link(Protocol):
    """What a connection gives to what is published on it."""

    version_5: bool

    def packet_id(self) -> int: ...

    def write(self, packet: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the broker said when it accepted the connection."""

    in_flight: int
    qos: int = 1
    packet_bytes: int = 268_435_455


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a message was not taken; `passing` when another time it may be."""

    text: str
    passing: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """`done` is called once: with None when it is out, else with the problem."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    done: Callable[[Problem | None], None]
    correlation: bytes | None = None

    @property
    def size(self) -> int:
        more = len(self.correlation or b"")
        return len(self.topic) + len(self.payload) + more + OVERHEAD_BYTES


class Outlet:
    """Owns what is published on one connection and not yet acknowledged."""

    def __init__(self, *, reason_text: Callable[[int], str]) -> None:
        self._reason_text = reason_text
        self._waiting: deque[Publication] = deque()
        self._waiting_bytes = 0
        self._in_flight: dict[int, Publication] = {}
        self._link: Link | None = None
        self._allowance = Allowance(0)
        self.published = 0
        self.failed = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._in_flight

    def put(self, publication: Publication) -> bool:
        """Take it to be sent in its turn; False when there is no room."""
        size = self._waiting_bytes + publication.size
        full = len(self._waiting) >= MOST_WAITING or size > MOST_WAITING_BYTES
        if full and self._waiting:
            return False
        self._waiting.append(publication)
        self._waiting_bytes = size
        self._pump()
        return True

    def withdraw(self, publication: Publication) -> None:
        """Do not send it if it still waits."""
        if publication in self._waiting:
            self._waiting.remove(publication)
            self._waiting_bytes -= publication.size

    def attach(self, link: Link, allowance: Allowance) -> None:
        self._link = link
        self._allowance = allowance
        self._pump()

    def detach(self) -> None:
        """The connection is lost: send again what it had not acknowledged."""
        self._link = None
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._waiting_bytes += sum(one.size for one in self._in_flight.values())
        self._in_flight.clear()

    def acknowledged(self, packet_id: int, reason: int) -> None:
        publication = self._in_flight.pop(packet_id, None)
        if publication is not None:
            self._end(publication, self._problem(reason))
            self._pump()

    def _problem(self, reason: int) -> Problem | None:
        if reason < FIRST_REFUSAL:
            return None
        return Problem(self._reason_text(reason), passing=reason in PASSING)

    def _pump(self) -> None:
        link = self._link
        while (
            link is not None
            and self._waiting
            and len(self._in_flight) < self._allowance.in_flight
        ):
            self._send(link, self._next())

    def _next(self) -> Publication:
        publication = self._waiting.popleft()
        self._waiting_bytes -= publication.size
        return publication

    def _send(self, link: Link, publication: Publication) -> None:
        if publication.size > self._allowance.packet_bytes:
            most = self._allowance.packet_bytes
            self._end(publication, Problem(f"the broker takes at most {most} bytes"))
            return
        packet_id = 0
        if min(publication.qos, self._allowance.qos):
            packet_id = link.packet_id()
            self._in_flight[packet_id] = publication
        packet = encode_publish(
            publication.topic,
            publication.payload,
            packet_id=packet_id,
            retain=publication.retain,
            version_5=link.version_5,
            correlation=publication.correlation,
        )
        link.write(packet)
        if not packet_id:
            self._end(publication, None)

    def _end(self, publication: Publication, problem: Problem | None) -> None:
        if problem is None:
            self.published += 1
        elif not problem.passing:
            self.failed += 1
        publication.done(problem)
