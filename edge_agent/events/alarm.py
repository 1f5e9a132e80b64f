"""One alarm: what it has fired, and what is due by which clock. Times are in ms.

An interval that has begun lives on the steady clock, all else on the wall clock. What
is noted on disk is always wall time, for no other means anything after a restart.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import msgspec

from edge_agent.events.alarm_config import AlarmConfig
from edge_agent.events.clock import Reading
from edge_agent.events.schedule import Interval, Once, due_ticks


class Axis(Enum):
    WALL = auto()
    STEADY = auto()


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the disk knows: the last tick, and how many were fired.

    Until it has `begun`, `last` is where to count from.
    """

    last: int
    fired: int = 0
    begun: bool = False


class Alarm:
    """`place` is its entry in a heap, 0 for none; older entries are void.

    `over` says why nothing more comes, in upstream's words.
    """

    __slots__ = (
        "axis",
        "begun",
        "config",
        "fired",
        "firing",
        "held",
        "id",
        "last",
        "over",
        "place",
        "refused",
        "schedule",
        "spent",
    )

    def __init__(self, subscription_id: str, config: AlarmConfig, note: Note) -> None:
        self.id = subscription_id
        self.config = config
        self.schedule = config.schedule
        self.axis = Axis.WALL
        self.last = note.last
        self.fired = note.fired
        self.begun = note.begun
        self.place = 0
        self.refused = 0
        self.held: int | None = None
        self.firing = False
        self.over: str | None = None
        self.spent = False

    def begin(self, now: Reading) -> None:
        """An interval that was under way goes on from its last tick."""
        if self.begun and isinstance(self.schedule, Interval):
            known = now.wall_ms + now.behind_ms
            elapsed = max(0, known - self.last)
            self._go_steady(self.schedule, now.mono_ms - elapsed)

    def due(self, now: Reading) -> list[int]:
        """Ticks to fire now, oldest first."""
        if self.held is not None:
            return [self.held]
        if self.over is not None or self._is_past_stop(now):
            return []
        clock = self._clock(now)
        ticks = due_ticks(self.schedule, self.last, clock, self.config.catch_up)
        if not ticks:
            self.last = max(self.last, clock)
        return ticks

    def next_tick(self, now: Reading) -> int | None:
        """The first tick that has not been dealt with; None sets `over`."""
        if self.over is not None:
            return None
        if self.config.most is not None and self.fired >= self.config.most:
            self._finish("reaching max triggers")
            return None
        tick = self.schedule.after(self.last)
        if tick is None or self._is_past_stop(now, tick):
            once = isinstance(self.schedule, Once)
            self._finish("firing once" if once else "reaching stop date")
            return None
        return tick

    def passed(self, tick: int, at: Reading) -> None:
        """The tick, fired at `at`, is dealt with."""
        self.refused = 0
        self.held = None
        self.begun = True
        self.fired += 1
        if self.axis is Axis.WALL and isinstance(self.schedule, Interval):
            self._go_steady(self.schedule, at.mono_ms - (at.wall_ms - tick))
        else:
            self.last = tick

    def hold(self, tick: int) -> None:
        """The tick was refused; it is offered until it is taken."""
        self.refused += 1
        self.held = tick

    def note(self, now: Reading) -> Note:
        """What to keep as things are."""
        return Note(
            last=self.wall_of(self.last, now), fired=self.fired, begun=self.begun
        )

    def noted(self, tick: int, at: Reading) -> Note:
        """What to keep of `tick`, fired at `at`."""
        return Note(last=self.wall_of(tick, at), fired=self.fired + 1, begun=True)

    def wall_of(self, tick: int, now: Reading) -> int:
        if self.axis is Axis.WALL:
            return tick
        return now.wall_ms - (now.mono_ms - tick)

    def gone(self) -> None:
        self._finish("receiving a 404 status code when firing")
        self.spent = False

    def status(self, now: Reading) -> dict[str, Any]:
        if self.over is not None:
            message = f"Automatically disabled trigger after {self.over}"
            return {"active": False, "reason": {"kind": "AUTO", "message": message}}
        shown: dict[str, Any] = {"fired": self.fired}
        tick = self.schedule.after(self.last)
        if tick is not None:
            shown["next"] = self.wall_of(tick, now)
        if self.axis is Axis.WALL and not now.synced:
            shown["waiting"] = "the clock is not synced"
        return shown

    def _clock(self, now: Reading) -> int:
        return now.wall_ms if self.axis is Axis.WALL else now.mono_ms

    def _go_steady(self, interval: Interval, last: int) -> None:
        self.axis = Axis.STEADY
        self.schedule = Interval(last, interval.period)
        self.last = last

    def _is_past_stop(self, now: Reading, tick: int | None = None) -> bool:
        """Whether an interval under way, whose ticks have no dates, has to stop."""
        given = self.config.schedule
        if self.axis is Axis.WALL or not isinstance(given, Interval):
            return False
        at = now.wall_ms if tick is None else self.wall_of(tick, now)
        return given.stop is not None and at >= given.stop

    def _finish(self, reason: str) -> None:
        self.over = reason
        self.spent = True
