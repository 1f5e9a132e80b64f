"""The timers of one subscription's `pace`: first debounce, then batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.events.base import Event
from edge_agent.events.pace import Batch, Debounce, Pace

if TYPE_CHECKING:
    from edge_agent.events.intake import Unit


class Paced(NamedTuple):
    """An event that waits; `unit` is what its receipt counts for."""

    topic: str
    event: Event
    unit: Unit


class Pacer:
    """Owns what waits for its time. One timer, whatever waits.

    `fire` gets what is due; `replaced` what a newer message took the place of.
    """

    def __init__(
        self,
        pace: Pace,
        *,
        most: int,
        fire: Callable[[Sequence[Paced]], None],
        replaced: Callable[[Paced], None],
    ) -> None:
        interval, batch = pace.debounce, pace.batch
        self._debounce = None if interval is None else Debounce[Paced](interval)
        self._batch = None if batch is None else Batch[Paced](batch, most=most)
        self._fire = fire
        self._replaced = replaced
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def __len__(self) -> int:
        debounced = 0 if self._debounce is None else len(self._debounce)
        return debounced + (0 if self._batch is None else len(self._batch))

    def put(self, paced: Paced) -> None:
        now_s = self._loop.time()
        if self._debounce is None:
            self._gather(paced, now_s)
        else:
            before = self._debounce.put(paced.topic, paced, now_s)
            if before is not None:
                self._replaced(before)
        self._set_timer()

    def take(self) -> list[Paced]:
        """All that waits; it waits no longer."""
        found = [] if self._debounce is None else self._debounce.due(float("inf"))
        return found + ([] if self._batch is None else self._batch.take())

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _gather(self, paced: Paced, now_s: float) -> None:
        if self._batch is None:
            self._fire((paced,))
            return
        for full in self._batch.put(paced, len(paced.event.payload), now_s):
            self._fire(full)

    def _set_timer(self) -> None:
        """At the time of the first that is due; it is set anew when it has rung."""
        if self._timer is not None or self._stopped:
            return
        owners = (self._debounce, self._batch)
        times = [one.next_s for one in owners if one is not None]
        due = [time for time in times if time is not None]
        if due:
            self._timer = self._loop.call_at(min(due), self._ring)

    def _ring(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        if self._debounce is not None:
            for paced in self._debounce.due(now_s):
                self._gather(paced, now_s)
        batch = self._batch
        if batch is not None and batch.next_s is not None and batch.next_s <= now_s:
            self._fire(batch.take())
        self._set_timer()
