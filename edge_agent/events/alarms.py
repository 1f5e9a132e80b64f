"""The source of time: every alarm of the node on one timer.

Theory. Two heaps hold the next tick of each alarm: one by the wall clock (cron, once,
the first tick of an interval), one by the clock that never jumps (intervals under way,
and what is tried again). The wall heap rests while the clock is unsynced (`clock`).
`_turn` takes what is due, fires a bounded part of it and says how long to sleep; the
sleep is short enough to notice that somebody set the clock.

Exactly one fire for a tick: the note of an alarm's last tick joins the transaction that
commits what the tick starts, because both are handed to the store in the same turn of
the loop. A crash finds both or neither. A tick that was refused is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import msgspec

from edge_agent.events.alarm import Alarm, Axis, Note
from edge_agent.events.alarm_config import (
    ALARM,
    INTERVAL,
    ONCE,
    AlarmConfig,
    parse_alarm,
    read_zones,
)
from edge_agent.events.base import (
    BuiltinError,
    Event,
    NotedState,
    Receipt,
    Sink,
    Subscription,
)
from edge_agent.events.clock import Clock, Reading
from edge_agent.model.errors import Unavailable

PACKAGE = "whisk.system/alarms"
FEEDS = {f"{PACKAGE}/{feed.name}": feed for feed in (ALARM, INTERVAL, ONCE)}
#: Ticks fired before others get the loop.
FIRES_MOST = 100
LOADS_MOST = 100
#: Entries of alarms that were changed since, kept before a heap is cleaned.
VOID_MOST = 64
#: How soon a clock that was set is noticed.
LOOK_S = 5.0
#: How often the newest wall time is written: an SD card does not like it.
SEEN_EVERY_MS = 600_000
RETRY_MS = 1_000
RETRY_MOST_MS = 30_000
#: A clock set back by more than this makes ticks of the time since then due again.
STEP_MS = 3_600_000
CLOCK_NOTE = "clock"

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_note = msgspec.json.Decoder(Note)


class Triggers(Protocol):
    """What an alarm asks of the node's entities; ids are `namespace/trigger`."""

    def exists(self, trigger: str) -> bool: ...

    async def delete(self, trigger: str, *, rules: bool) -> None:
        """Delete the trigger, and its rules if asked to. Never raises."""
        ...


class AlarmSource:
    """A `Source`. All but `run` return at once."""

    def __init__(
        self,
        state: NotedState,
        sink: Sink,
        triggers: Triggers,
        clock: Clock,
    ) -> None:
        self._state = state
        self._sink = sink
        self._triggers = triggers
        self.clock = clock
        self._alarms: dict[str, Alarm] = {}
        self._heaps: dict[Axis, list[tuple[int, int, Alarm]]] = {
            axis: [] for axis in Axis
        }
        self._ready: deque[Alarm] = deque()
        self._changed = asyncio.Event()
        self._places = 0
        self._seen_ms = 0
        self._unusable: dict[str, str] = {}
        self._deleting: asyncio.TaskGroup | None = None
        self._taking = True
        self.fired = 0

    async def run(self) -> None:
        """Fire alarms until cancelled."""
        self._recall_clock()
        try:
            async with asyncio.TaskGroup() as group:
                self._deleting = group
                await self._load()
                while True:
                    self._changed.clear()
                    wait_s = self._turn()
                    await self._sleep(wait_s)
        finally:
            self._deleting = None
            self._note_clock(self.clock.read())

    def stop_taking(self) -> None:
        """Fire nothing more; what is due then is missed, as while the node is down."""
        self._taking = False

    # --- alarms ---------------------------------------------------------------------

    def check(self, subscription: Subscription) -> AlarmConfig:
        """Read the parameters.

        Raises:
            BuiltinError: naming what is wrong.
        """
        feed = FEEDS[subscription.feed]
        return parse_alarm(feed, subscription.id, subscription.config)

    def now_ms(self) -> int:
        return self.clock.read().wall_ms

    def subscribe(self, subscription: Subscription) -> None:
        """Begin now: what was due before is no concern of this alarm.

        Raises:
            BuiltinError: its parameters are wrong.
        """
        before = self._recall(subscription.id)
        now = self.clock.read()
        note = Note(last=now.wall_ms, fired=before.fired if before else 0)
        self._begin(subscription, note, now)
        self._state.keep_note(_key(subscription.id), _encode(note))
        self._changed.set()

    def unsubscribe(self, subscription_id: str, *, deleted: bool) -> None:
        self._unusable.pop(subscription_id, None)
        alarm = self._alarms.pop(subscription_id, None)
        if alarm is not None:
            alarm.place = 0
        if deleted:
            self._state.keep_note(_key(subscription_id), None)

    def status(self, subscription_id: str) -> dict[str, Any]:
        """`next` where it is known, why it is over where it is."""
        if subscription_id in self._unusable:
            return {"state": "unusable", "error": self._unusable[subscription_id]}
        alarm = self._alarms.get(subscription_id)
        return {} if alarm is None else alarm.status(self.clock.read())

    def health(self) -> dict[str, Any]:
        over = sum(alarm.over is not None for alarm in self._alarms.values())
        return {
            "alarms": len(self._alarms) - over,
            "over": over,
            "fired": self.fired,
            "unusable": [
                {"id": one, "error": error} for one, error in self._unusable.items()
            ],
        }

    # --- starting -------------------------------------------------------------------

    def _recall_clock(self) -> None:
        seen = self._state.note(CLOCK_NOTE)
        if seen is not None:
            self._seen_ms = int(seen)
            self.clock.remember(self._seen_ms)

    async def _load(self) -> None:
        now = self.clock.read()
        if not now.synced:
            log.warning("the clock is %d s behind: alarms wait", now.behind_ms // 1000)
        kept = [one for feed in FEEDS for one in self._state.subscriptions(feed)]
        await read_zones(one.config for one in kept)
        for count, subscription in enumerate(kept, 1):
            if subscription.active and subscription.id not in self._alarms:
                self._load_one(subscription, self.clock.read())
            if count % LOADS_MOST == 0:
                await asyncio.sleep(0)

    def _load_one(self, subscription: Subscription, now: Reading) -> None:
        note = self._recall(subscription.id) or Note(last=subscription.changed)
        try:
            self._begin(subscription, note, now)
        except BuiltinError as error:
            # Written by another release, or by hand: shown, and no reason to stop.
            self._unusable[subscription.id] = str(error)
            log.error("%s: %s", subscription.id, error)  # noqa: TRY400 no fault of ours

    def _begin(self, subscription: Subscription, note: Note, now: Reading) -> None:
        alarm = Alarm(subscription.id, self.check(subscription), note)
        self.unsubscribe(subscription.id, deleted=False)
        self._alarms[subscription.id] = alarm
        alarm.begin(now)
        self._place(alarm, now)

    def _recall(self, subscription_id: str) -> Note | None:
        doc = self._state.note(_key(subscription_id))
        return None if doc is None else _note.decode(doc)

    # --- the timer ------------------------------------------------------------------

    def _turn(self) -> float:
        """Fire what is due, a bounded part of it; the seconds until the next look."""
        now = self.clock.read()
        if now.stepped_back_ms > STEP_MS:
            self._set_back(now)
        if now.synced and now.wall_ms - self._seen_ms >= SEEN_EVERY_MS:
            self._note_clock(now)
        self._take_due(Axis.STEADY, now.mono_ms)
        if now.synced:
            self._take_due(Axis.WALL, now.wall_ms)
        for _ in range(min(FIRES_MOST, len(self._ready))):
            self._fire_next(self._ready.popleft(), now)
        return 0.0 if self._ready else self._idle_s(now)

    async def _sleep(self, wait_s: float) -> None:
        if wait_s <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()

    def _take_due(self, axis: Axis, now: int) -> None:
        heap = self._heaps[axis]
        while heap and heap[0][0] <= now:
            _, place, alarm = heappop(heap)
            if alarm.place == place:
                alarm.place = 0
                self._ready.append(alarm)

    def _idle_s(self, now: Reading) -> float:
        steady, wall = self._heaps[Axis.STEADY], self._heaps[Axis.WALL]
        idle_s = SEEN_EVERY_MS / 1000
        if steady:
            idle_s = min(idle_s, (steady[0][0] - now.mono_ms) / 1000)
        if wall:
            due_s = (wall[0][0] - now.wall_ms) / 1000 if now.synced else LOOK_S
            idle_s = min(idle_s, due_s, LOOK_S)
        return max(idle_s, 0.001)

    def _place(self, alarm: Alarm, now: Reading) -> None:
        """Put the alarm's next tick into its heap, or end it."""
        tick = alarm.next_tick(now)
        if tick is None:
            self._end(alarm)
            return
        self._push(alarm, alarm.axis, tick)

    def _push(self, alarm: Alarm, axis: Axis, due: int) -> None:
        self._places += 1
        alarm.place = self._places
        heap = self._heaps[axis]
        heappush(heap, (due, self._places, alarm))
        if len(heap) > VOID_MOST + 2 * len(self._alarms):
            heap[:] = [entry for entry in heap if entry[2].place == entry[1]]
            heapify(heap)
        self._changed.set()

    def _set_back(self, now: Reading) -> None:
        """The time seen before was the error: ticks count from now on."""
        log.warning("the clock was set back by %d s", now.stepped_back_ms // 1000)
        for alarm in self._alarms.values():
            if alarm.axis is Axis.WALL and alarm.last > now.wall_ms:
                alarm.last = now.wall_ms
                if alarm.over is None and not alarm.firing:
                    self._place(alarm, now)
        self._note_clock(now)

    # --- firing ---------------------------------------------------------------------

    def _fire_next(self, alarm: Alarm, now: Reading) -> None:
        """Fire the oldest tick that is due, or go on to the next one."""
        if self._alarms.get(alarm.id) is not alarm or not self._taking:
            return
        due = alarm.due(now)
        if not due:
            self._place(alarm, now)
            return
        tick = due[0]
        at = datetime.fromtimestamp(alarm.wall_of(tick, now) / 1000, UTC)
        alarm.firing = True
        receipt = self._sink(
            Event(
                subscription=alarm.id,
                payload=alarm.config.payload,
                origin=f"alarm:{at.isoformat(timespec='seconds')}",
            )
        )
        # What is being committed takes the note along.
        self._keep(alarm, alarm.noted(tick, now), along=not receipt.done())
        receipt.add_done_callback(partial(self._settled, alarm, tick, now))

    def _settled(
        self, alarm: Alarm, tick: int, at: Reading, done: asyncio.Future[Receipt]
    ) -> None:
        alarm.firing = False
        receipt = Receipt.REFUSED if done.cancelled() else done.result()
        if self._alarms.get(alarm.id) is not alarm:
            return
        now = self.clock.read()
        if receipt is Receipt.REFUSED:
            self._keep(alarm, alarm.note(at))
            alarm.hold(tick)
            wait_ms = min(RETRY_MS << min(alarm.refused - 1, 16), RETRY_MOST_MS)
            self._push(alarm, Axis.STEADY, now.mono_ms + wait_ms)
            return
        alarm.passed(tick, at)
        self.fired += 1
        if receipt is Receipt.UNWANTED and not self._triggers.exists(alarm.id):
            alarm.gone()
        self._place(alarm, now)

    def _keep(self, alarm: Alarm, note: Note, *, along: bool = False) -> None:
        self._state.keep_note(_key(alarm.id), _encode(note), along=along)

    def _end(self, alarm: Alarm) -> None:
        """Nothing more will come of it."""
        rules = alarm.config.delete_after_fire == "rules"
        if alarm.spent and alarm.fired and alarm.config.delete_after_fire != "false":
            self._delete(alarm, rules=rules)

    def _delete(self, alarm: Alarm, *, rules: bool) -> None:
        if self._deleting is not None:
            self._deleting.create_task(
                self._delete_trigger(alarm, rules=rules), name=f"alarm[{alarm.id}]"
            )

    async def _delete_trigger(self, alarm: Alarm, *, rules: bool) -> None:
        self.unsubscribe(alarm.id, deleted=True)
        await self._triggers.delete(alarm.id, rules=rules)
        # A disk that is full keeps it: it is spent, and goes after the next start.
        with suppress(Unavailable):
            await self._state.forget(alarm.id)

    def _note_clock(self, now: Reading) -> None:
        if now.synced:
            self._seen_ms = now.wall_ms
            self._state.keep_note(CLOCK_NOTE, str(now.wall_ms).encode())


def _key(subscription_id: str) -> str:
    return f"alarm/{subscription_id}"
