"""One alarm through any order of waits, refusals, restarts and reboots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.alarm import Alarm, Axis, Note
from edge_agent.events.alarm_config import AlarmConfig
from edge_agent.events.clock import Reading
from edge_agent.events.cron import Cron
from edge_agent.events.schedule import CatchUp, CronSchedule, Interval, Once, Schedule

START = 1_800_000_000_000
#: Ticks are a minute apart at least: two waits are below what catch_up fires at once.
WAITS = st.integers(1, 45 * 60_000)
STEPS = st.lists(
    st.tuples(st.sampled_from(["wait", "refuse", "restart", "reboot"]), WAITS),
    min_size=1,
    max_size=20,
)
SCHEDULES = st.sampled_from(
    [
        CronSchedule(Cron("* * * * *")),
        CronSchedule(Cron("*/7 * * * *"), delay=13_000),
        CronSchedule(Cron("30 */2 * * *"), stop=START + 20 * 3_600_000),
        Interval(START + 30_000, 60_000),
        Interval(START + 90_000, 420_000, START + 30 * 3_600_000),
        Once(START + 3_600_000),
    ]
)


def ticks(schedule: Schedule, until: int) -> list[int]:
    found, tick = [], schedule.after(START)
    while tick is not None and tick <= until:
        found.append(tick)
        tick = schedule.after(tick)
    return found


class Life:
    """What `AlarmSource` does with an alarm, without a timer."""

    def __init__(self, schedule: Schedule) -> None:
        self.config = AlarmConfig(schedule, b"{}", CatchUp.ALL)
        self.note = Note(last=START)
        self.wall, self.mono = START, 700_000
        self.fired: list[int] = []
        self.begin()

    @property
    def now(self) -> Reading:
        return Reading(self.wall, self.mono, synced=True)

    def begin(self) -> None:
        self.alarm = Alarm("guest/t", self.config, self.note)
        self.alarm.begin(self.now)

    def steps(self, steps: list[tuple[str, int]]) -> None:
        """Two refusals in a row would leave more behind than is caught up."""
        for kind, ms in steps:
            self.step(kind, ms)
            if kind == "refuse":
                self.step("wait", 1)

    def step(self, kind: str, ms: int) -> None:
        self.wall += ms
        self.mono += ms
        if kind == "reboot":
            self.mono = 50
        if kind in ("restart", "reboot"):
            self.begin()
        while self.is_due():
            tick = self.alarm.due(self.now)[0]
            if kind == "refuse":
                self.alarm.hold(tick)
                return
            self.fired.append(self.alarm.wall_of(tick, self.now))
            self.note = self.alarm.noted(tick, self.now)
            self.alarm.passed(tick, self.now)

    def is_due(self) -> bool:
        tick = self.alarm.next_tick(self.now)
        clock = self.wall if self.alarm.axis is Axis.WALL else self.mono
        return tick is not None and tick <= clock and bool(self.alarm.due(self.now))


@given(SCHEDULES, STEPS)
def test_every_tick_is_fired_once_whatever_happens(
    schedule: Schedule, steps: list[tuple[str, int]]
) -> None:
    life = Life(schedule)
    life.steps([*steps, ("wait", 1)])

    assert life.fired == ticks(schedule, life.wall)


@given(SCHEDULES, STEPS, st.integers(1, 5))
def test_no_more_than_max_triggers(
    schedule: Schedule, steps: list[tuple[str, int]], most: int
) -> None:
    life = Life(schedule)
    life.config = AlarmConfig(schedule, b"{}", CatchUp.ALL, most=most)
    life.begin()
    life.steps(steps)

    assert len(life.fired) <= most
    assert life.fired == ticks(schedule, life.wall)[: len(life.fired)]
