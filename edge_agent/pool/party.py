"""A sandbox that serves several activations at once: `limits.concurrency` > 1 (C49).

It has *seats*. The first is the proxy that made it, the *host*, which declares its
memory; the others are proxies of no memory that share its sandbox. Each is idle or on
one job like any other, so that finding a warm sandbox, running a job in it and its end
are the same for all. What concerns the sandbox as a whole is decided here:

- While it is being made, jobs of the same revision *board* it instead of having one of
  their own made (D6, 2), as many as there will be seats.
- It may be evicted when all seats are idle.
- When one seat must go (D8), no seat takes another job; the sandbox is destroyed when
  the last of them has ended its own.
"""

from __future__ import annotations

import asyncio

from edge_agent.pool.lifecycle import Event, State
from edge_agent.pool.proxy import Proxy
from edge_agent.pool.queue import Waiting
from edge_agent.sandbox.base import SandboxSpec

_BUSY = (State.INITIALIZING, State.RUNNING)


class Party:
    """`boarded` are the jobs that wait for the init; `open` once it has seats."""

    def __init__(self, host: Proxy, places: int) -> None:
        self.host = host
        self.places = places
        self.seats: list[Proxy] = []
        self.boarded: list[Waiting] = []
        self.open = False
        self.over = False
        self.quiet = asyncio.Event()
        host.party = self

    @property
    def has_room(self) -> bool:
        return not self.open and len(self.boarded) < self.places - 1

    @property
    def idle(self) -> bool:
        return all(proxy.state is State.READY for proxy in (self.host, *self.seats))

    @property
    def used_ns(self) -> int:
        return max(proxy.used_ns for proxy in (self.host, *self.seats))

    def add_seats(self) -> list[Proxy]:
        """The init has agreed: seats beside the host's, all of them idle."""
        self.open = True
        host = self.host
        spec = SandboxSpec(host.spec.kind, 0, host.spec.network)
        for _ in range(self.places - 1):
            seat = host.seat_beside(spec)
            seat.party = self
            seat.advance(Event.SIT)
            self.seats.append(seat)
        return self.seats

    def leave(self) -> list[Waiting]:
        """Those who have boarded, in their order; nobody does any more."""
        boarded, self.boarded = self.boarded, []
        self.open = True
        return boarded

    def stop(self) -> None:
        """No seat is kept for another job."""
        self.over = True
        for proxy in (self.host, *self.seats):
            proxy.retired = True

    def note_quiet(self) -> None:
        if not any(proxy.state in _BUSY for proxy in (self.host, *self.seats)):
            self.quiet.set()
