"""Ticks of cron expressions, through changes to and from summer time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.events.cron import Cron, zone_of

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = [None, BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe")]
#: A day before each change of 2026, as Berlin and New York make it.
FORWARD = {BERLIN: "2026-03-28T12:00", NEW_YORK: "2026-03-07T12:00"}
BACK = {BERLIN: "2026-10-24T12:00", NEW_YORK: "2026-10-31T12:00"}

moments = st.integers(
    int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000),
    int(datetime(2032, 1, 1, tzinfo=UTC).timestamp() * 1000),
)


def number(most: int, least: int = 0) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(str)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    step = st.sampled_from(["*", "*/2", "*/7", "*/30"])
    minute = draw(step | number(59) | st.just("0,30"))
    hour = draw(st.sampled_from(["*", "*/2", "1-3"]) | number(23))
    day = draw(st.just("*") | number(28, 1) | st.just("L"))
    month = draw(st.just("*") | number(12, 1))
    weekday = draw(st.just("*") | number(7) | st.just("MON-FRI"))
    fields = [minute, hour, day, month, weekday]
    if draw(st.booleans()):
        fields.insert(0, draw(step | number(59)))
    return " ".join(fields)


def ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return (
        int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
        * 1000
    )


def ticks(expression: str, zone: ZoneInfo | None, after: str, count: int) -> list[str]:
    cron, moment, found = Cron(expression, zone), ms(after), []
    for _ in range(count):
        moment = cron.after(moment) or 0
        local = datetime.fromtimestamp(moment / 1000, zone or UTC)
        found.append(f"{local:%m-%d %H:%M:%S%z}")
    return found


@pytest.mark.parametrize("zone", FORWARD)
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 30 2 * * *"])
def test_a_daily_time_that_the_clocks_skip_is_due_when_they_have_jumped(
    expression: str, zone: ZoneInfo
) -> None:
    first, second = ticks(expression, zone, FORWARD[zone], 2)

    assert first[6:14] == "03:00:00"
    assert second[6:14] == "02:30:00"


@pytest.mark.parametrize("zone", BACK)
@pytest.mark.parametrize("expression", ["30 1 * * *", "0 30 2 * * *"])
def test_a_daily_time_that_comes_twice_is_due_once(
    expression: str, zone: ZoneInfo
) -> None:
    days = [tick[:5] for tick in ticks(expression, zone, BACK[zone], 4)]

    assert len(set(days)) == 4


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
def test_every_half_hour_stays_half_an_hour(zone: ZoneInfo) -> None:
    for after in (FORWARD[zone], BACK[zone]):
        moment = ms(after)
        for _ in range(60):
            before, moment = moment, Cron("*/30 * * * *", zone).after(moment) or 0
            assert moment - before == 1_800_000


def test_leap_days_and_seconds_and_weekdays() -> None:
    assert ticks("0 0 29 2 *", None, "2026-01-01", 2) == [
        "02-29 00:00:00+0000",
        "02-29 00:00:00+0000",
    ]
    assert ticks("*/20 * * * * *", None, "2026-01-01T00:00:10", 3) == [
        "01-01 00:00:20+0000",
        "01-01 00:00:40+0000",
        "01-01 00:01:00+0000",
    ]
    assert ticks("0 6 * * MON", None, "2026-11-21", 1) == ["11-23 06:00:00+0000"]


@pytest.mark.parametrize(
    "wrong", ["", "* * * *", "* * * * * * *", "61 * * * *", "a b c d e", "0 0 31 4 *"]
)
def test_what_is_no_expression_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Cron(wrong)


def test_a_zone_must_exist() -> None:
    assert zone_of("Europe/Berlin") == BERLIN
    for wrong in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="time zone"):
            zone_of(wrong)


@given(expressions(), st.sampled_from(ZONES), moments)
def test_ticks_rise_and_match_what_the_clock_shows(
    expression: str, zone: ZoneInfo | None, after: int
) -> None:
    cron = Cron(expression, zone)
    first = cron.after(after)
    if first is None:
        return
    second = cron.after(first)

    assert after < first
    assert cron.after(first - 1) == first
    assert second is None or second > first
    if zone is None:
        shown = datetime.fromtimestamp(first / 1000, UTC)
        naive = Cron(expression).after(first - 1000)
        assert naive == first
        assert shown.microsecond == 0


@example("0,30 */2 * 4 0", ZoneInfo("Australia/Lord_Howe"), 1704067200000)
@given(expressions(), st.sampled_from(ZONES), moments)
def test_going_back_finds_the_ticks_that_going_on_finds(
    expression: str, zone: ZoneInfo | None, start: int
) -> None:
    cron = Cron(expression, zone)
    forward, moment = [], start
    for _ in range(20):
        after = cron.after(moment)
        if after is None:
            return
        forward.append(moment := after)

    assert list(islice(cron.back_from(moment), 20))[::-1] == forward


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK])
@pytest.mark.parametrize(
    "expression", ["30 2 * * *", "*/15 * * * *", "0,30 1-3 * * *", "30 */2 * * *"]
)
def test_going_back_over_a_change_of_clocks_finds_the_same(
    expression: str, zone: ZoneInfo
) -> None:
    cron = Cron(expression, zone)
    for text in (FORWARD[zone], BACK[zone]):
        begin = ms(text)
        forward, moment = [], begin
        while (moment := cron.after(moment) or 0) <= begin + 26 * 3_600_000:
            forward.append(moment)
        for minutes in range(0, 26 * 60, 37):
            end = begin + minutes * 60_000
            back = [tick for tick in islice(cron.back_from(end), 200) if tick > begin]
            assert back[::-1] == [tick for tick in forward if tick <= end]
