"""What is due of a schedule, and what catch_up makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.cron import Cron
from edge_agent.events.schedule import (
    CATCH_UP_MOST,
    GRACE_MS,
    CatchUp,
    CronSchedule,
    Interval,
    Once,
    Schedule,
    due_ticks,
)

BASE = 1_800_000_000_000
EACH_SECOND = CronSchedule(Cron("* * * * * *"))
EACH_MINUTE = CronSchedule(Cron("* * * * *"))
times = st.integers(BASE, BASE + 40_000_000)
schedules = st.one_of(
    st.builds(Once, times),
    st.builds(Interval, times, st.integers(1, 60).map(lambda m: m * 60_000)),
    st.builds(Interval, times, st.integers(60_000, 3_600_000), st.none() | times),
    st.builds(
        CronSchedule,
        st.sampled_from(
            ["* * * * *", "*/7 * * * *", "5 */2 * * *", "*/20 * * * * *"]
        ).map(Cron),
        st.integers(0, 59).map(lambda s: s * 1000),
        st.none() | times,
        st.none() | times,
    ),
)


def all_ticks(schedule: Schedule, last: int, now: int, most: int = 500) -> list[int]:
    found: list[int] = []
    tick = schedule.after(last)
    while tick is not None and tick <= now and len(found) < most:
        found.append(tick)
        tick = schedule.after(tick)
    return found


@given(schedules, times, st.integers(0, 3_000_000))
def test_the_newest_ticks_are_the_end_of_all_of_them(
    schedule: Schedule, last: int, length: int
) -> None:
    every = all_ticks(schedule, last, last + length)

    assert schedule.newest(last, last + length, 7) == every[-7:]
    assert schedule.newest(last, last + length, 0) == []


@given(schedules, times, st.integers(0, 3_000_000), st.sampled_from(CatchUp))
def test_what_is_fired_is_a_bounded_part_of_what_is_due(
    schedule: Schedule, last: int, length: int, catch_up: CatchUp
) -> None:
    now = last + length
    every = all_ticks(schedule, last, now)
    due = due_ticks(schedule, last, now, catch_up)

    assert due == [tick for tick in every if tick in set(due)]
    match catch_up:
        case CatchUp.NONE:
            assert due == [tick for tick in every[-1:] if now - tick <= GRACE_MS]
        case CatchUp.LAST:
            assert due == every[-1:]
        case CatchUp.ALL:
            assert due == every[-CATCH_UP_MOST:]


@given(schedules, st.lists(st.integers(1, 600_000), max_size=40))
def test_however_late_the_timer_is_no_tick_is_fired_twice(
    schedule: Schedule, steps: list[int]
) -> None:
    last, now, fired = BASE, BASE, []
    for step in steps:
        now += step
        for tick in due_ticks(schedule, last, now, CatchUp.ALL):
            fired.append(tick)
            last = tick

    assert fired == sorted(set(fired))
    assert fired == all_ticks(schedule, BASE, now, most=2000)


def test_a_year_of_missed_seconds_costs_no_more_than_the_last_hundred() -> None:
    now = BASE + 365 * 86_400_000
    ticks = due_ticks(EACH_SECOND, BASE, now, CatchUp.ALL)

    assert len(ticks) == CATCH_UP_MOST
    assert ticks[-1] == now
    assert ticks == list(range(now - 99_000, now + 1, 1000))


def test_a_late_timer_is_no_reason_to_leave_a_tick_out() -> None:
    tick = EACH_MINUTE.after(BASE)
    assert tick is not None

    assert due_ticks(EACH_MINUTE, BASE, tick + GRACE_MS, CatchUp.NONE) == [tick]
    assert due_ticks(EACH_MINUTE, BASE, tick + GRACE_MS + 1, CatchUp.NONE) == []


def test_no_tick_comes_from_the_stop_date_on() -> None:
    stop = BASE + 300_000
    for schedule in (
        CronSchedule(Cron("* * * * *"), stop=stop),
        Interval(BASE, 60_000, stop),
    ):
        ticks = all_ticks(schedule, BASE, stop + 600_000)
        assert max(ticks) < stop
        assert schedule.after(stop - 1) is None


@pytest.mark.parametrize("start", [BASE + 1, BASE + 90_000])
def test_no_tick_comes_before_the_start_date(start: int) -> None:
    schedule = CronSchedule(Cron("* * * * *"), start=start)
    first = schedule.after(BASE - 10_000_000)

    assert first is not None
    assert start <= first < start + 60_000
    assert Interval(start, 60_000).after(BASE - 10_000_000) == start


def test_a_delay_moves_every_tick() -> None:
    plain, late = EACH_MINUTE, CronSchedule(Cron("* * * * *"), delay=17_000)
    after = plain.after(BASE)

    assert after is not None
    assert late.after(after) == after + 17_000
    assert late.newest(after, after + 17_000, 5) == [after + 17_000]
