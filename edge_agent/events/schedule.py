"""When an alarm is due: schedules as values, and one pure decision. Times are in ms.

Theory. `last` is the newest tick that has been dealt with (or the time from which the
alarm counts); the ticks in `(last, now]` are due. In the ordinary course there is one,
as old as the timer is late. There are more when the node was down, its clock jumped
forward, or the inbox was full; `CatchUp` says what is fired then:

    none   the newest, if it is no older than `GRACE_MS`: others are left out
    last   the newest, however old (the default: a restart at the wrong moment must not
           cost the only tick of the day, and no flood follows a long night)
    all    every one, at most the newest `CATCH_UP_MOST`
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile
from typing import Protocol

from edge_agent.events.cron import Cron

GRACE_MS = 10_000
CATCH_UP_MOST = 100


class CatchUp(StrEnum):
    NONE = "none"
    LAST = "last"
    ALL = "all"


class Schedule(Protocol):
    """The ticks of an alarm."""

    def after(self, ms: int) -> int | None:
        """The first tick later than `ms`, None when there is none any more."""
        ...

    def newest(self, last: int, now: int, most: int) -> list[int]:
        """The newest ticks in `(last, now]`, oldest first, at most so many."""
        ...


@dataclass(frozen=True, slots=True)
class Once:
    date: int

    def after(self, ms: int) -> int | None:
        return self.date if self.date > ms else None

    def newest(self, last: int, now: int, most: int) -> list[int]:
        return [self.date] if last < self.date <= now and most else []


@dataclass(frozen=True, slots=True)
class Interval:
    """`start`, and every `period` after it, as long as it is before `stop`."""

    start: int
    period: int
    stop: int | None = None

    def after(self, ms: int) -> int | None:
        count = max(0, (ms - self.start) // self.period + 1)
        return _before(self.start + count * self.period, self.stop)

    def newest(self, last: int, now: int, most: int) -> list[int]:
        end = now if self.stop is None else min(now, self.stop - 1)
        newest = self.start + (end - self.start) // self.period * self.period
        after = max(last, self.start - 1)
        ticks = range(newest, after, -self.period)[:most]
        return list(reversed(ticks))


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The ticks of `cron`, each `delay` later, from `start` on and before `stop`."""

    cron: Cron
    delay: int = 0
    start: int | None = None
    stop: int | None = None

    def after(self, ms: int) -> int | None:
        since = ms if self.start is None else max(ms, self.start - 1)
        tick = self.cron.after(since - self.delay)
        return None if tick is None else _before(tick + self.delay, self.stop)

    def newest(self, last: int, now: int, most: int) -> list[int]:
        after = last if self.start is None else max(last, self.start - 1)
        end = now if self.stop is None else min(now, self.stop - 1)
        back = (tick + self.delay for tick in self.cron.back_from(end - self.delay))
        ticks = list(islice(takewhile(lambda tick: tick > after, back), most))
        return ticks[::-1]


def due_ticks(schedule: Schedule, last: int, now: int, catch_up: CatchUp) -> list[int]:
    """What is to be fired of the ticks in `(last, now]`, oldest first."""
    most = CATCH_UP_MOST if catch_up is CatchUp.ALL else 1
    ticks = schedule.newest(last, now, most)
    if catch_up is CatchUp.NONE:
        return [tick for tick in ticks if now - tick <= GRACE_MS]
    return ticks


def _before(tick: int, stop: int | None) -> int | None:
    return tick if stop is None or tick < stop else None
