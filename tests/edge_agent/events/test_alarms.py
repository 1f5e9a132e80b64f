"""The source of time with a clock of the test's own, and its three feeds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge_agent.events.alarm_feed import AlarmsPackage
from edge_agent.events.alarms import AlarmSource
from edge_agent.events.base import BuiltinError, Receipt, Subscription
from edge_agent.events.clock import Clock
from edge_agent.events.fake import FakeSink, FakeState
from edge_agent.model.jobs import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GUEST = Identity(subject="guest", namespace="guest", uuid="u", key="k")
#: A full minute.
START = 1_800_000_000_000
MINUTE = 60_000


class FakeTriggers:
    def __init__(self) -> None:
        self.there = True
        self.deleted: list[tuple[str, bool]] = []

    def exists(self, _: str) -> bool:
        return self.there

    async def delete(self, trigger: str, *, rules: bool) -> None:
        self.deleted.append((trigger, rules))


class Stage:
    """A node's time: `pass_` moves both clocks, `jump` sets the wall clock."""

    def __init__(self) -> None:
        self.wall, self.mono, self.kept = START, 1_000_000, False
        self.state, self.triggers = FakeState(), FakeTriggers()
        self._running: asyncio.Task[None] | None = None

    def boot(self, answer: Receipt | None = Receipt.KEPT) -> None:
        self.sink = FakeSink(answer)
        self.clock = Clock(
            wall_ms=lambda: self.wall,
            mono_ms=lambda: self.mono,
            kept=lambda: self.kept,
        )
        self.source = AlarmSource(self.state, self.sink, self.triggers, self.clock)
        self.feeds = {
            name.name: feed
            for name, feed in AlarmsPackage(self.source, self.state).feeds.items()
        }

    async def run(self) -> None:
        self._running = asyncio.create_task(self.source.run())
        await self.settle()

    async def down(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        self._running = None

    async def settle(self) -> None:
        """Let the source look at the clock and its receipts come."""
        for _ in range(12):
            self.source._changed.set()
            await asyncio.sleep(0)

    async def pass_(self, ms: int, *, step: int = 1000) -> list[str]:
        """The origins of what is fired meanwhile."""
        before = len(self.sink.events)
        for _ in range(0, ms, step):
            self.wall += step
            self.mono += step
            await self.settle()
        return [event.origin[6:] for event in self.sink.events[before:]]

    async def call(self, kind: str, event: str, **arguments: Any) -> Any:
        life = {"triggerName": "/_/t", "authKey": "u:k", "lifecycleEvent": event}
        return await self.feeds[kind](GUEST, {**life, **arguments})

    async def restart(self, *, down_ms: int, reboot: bool = False) -> None:
        await self.down()
        self.wall += down_ms
        self.mono = 50 if reboot else self.mono + down_ms
        self.boot()
        await self.run()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    stage.boot()
    await stage.run()
    yield stage
    await stage.down()


# --- firing -------------------------------------------------------------------------


async def test_h22_a_cron_alarm_fires_each_tick_with_its_payload(stage: Stage) -> None:
    await stage.call("alarm", "CREATE", cron="*/2 * * * *", trigger_payload="hi")
    fired = await stage.pass_(5 * MINUTE)

    assert fired == ["2027-01-15T08:02:00+00:00", "2027-01-15T08:04:00+00:00"]
    assert stage.sink.events[0].payload == b'{"payload":"hi"}'
    assert stage.sink.events[0].subscription == "guest/t"


async def test_an_interval_keeps_its_step_though_the_clock_jumps(stage: Stage) -> None:
    await stage.call("interval", "CREATE", minutes=2)
    assert len(await stage.pass_(31_000)) == 1
    stage.wall += 3_600_000
    await stage.settle()
    assert await stage.pass_(118_000) == []
    assert len(await stage.pass_(2_000)) == 1
    stage.kept, stage.wall = True, stage.wall - 7_200_000
    assert await stage.pass_(118_000) == []
    assert len(await stage.pass_(2_000)) == 1


@pytest.mark.parametrize(("catch_up", "count"), [("none", 0), ("last", 1), ("all", 9)])
async def test_a_jump_forward_fires_what_catch_up_says(
    stage: Stage, catch_up: str, count: int
) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *", catch_up=catch_up)
    stage.wall += 9 * MINUTE + 30_000
    await stage.settle()
    await stage.pass_(5_000)

    assert len(stage.sink.events) == count


async def test_a_refused_tick_is_offered_until_it_is_taken(stage: Stage) -> None:
    stage.sink.answer = Receipt.REFUSED
    await stage.call("once", "CREATE", date=START + 2_000, catch_up="none")
    offered = await stage.pass_(MINUTE)
    assert 4 <= len(offered) <= 8
    assert set(offered) == {"2027-01-15T08:00:02+00:00"}
    stage.sink.answer = Receipt.KEPT
    await stage.pass_(31_000)
    assert await stage.pass_(MINUTE) == []
    read = await stage.call("once", "READ")

    assert read["status"]["active"] is False
    assert "firing once" in read["status"]["reason"]["message"]


@pytest.mark.parametrize("mode", ["true", "rules"])
async def test_an_alarm_may_take_its_trigger_along(stage: Stage, mode: str) -> None:
    await stage.call("once", "CREATE", date=START + 2_000, deleteAfterFire=mode)
    await stage.pass_(3_000)

    assert stage.triggers.deleted == [("guest/t", mode == "rules")]
    assert stage.state.saved == {}
    assert set(stage.state.notes) <= {"clock"}


async def test_max_triggers_are_counted_over_restarts(stage: Stage) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *", maxTriggers=3)
    await stage.pass_(2 * MINUTE)
    await stage.restart(down_ms=5_000)
    assert len(await stage.pass_(4 * MINUTE)) == 1
    reason = (await stage.call("alarm", "READ"))["status"]["reason"]

    assert reason["message"].endswith("reaching max triggers")


async def test_a_stop_date_ends_an_interval(stage: Stage) -> None:
    stop = START + 3 * MINUTE
    await stage.call("interval", "CREATE", minutes=1, stopDate=stop)

    assert len(await stage.pass_(10 * MINUTE)) == 3
    assert (await stage.call("interval", "READ"))["status"]["active"] is False


async def test_an_alarm_whose_trigger_is_gone_ends(stage: Stage) -> None:
    stage.sink.answer = Receipt.UNWANTED
    await stage.call("alarm", "CREATE", cron="* * * * *")
    assert len(await stage.pass_(2 * MINUTE)) == 2
    stage.triggers.there = False
    assert len(await stage.pass_(3 * MINUTE)) == 1
    reason = (await stage.call("alarm", "READ"))["status"]["reason"]

    assert reason["message"].endswith("a 404 status code when firing")


# --- restarts -----------------------------------------------------------------------


@pytest.mark.parametrize(("catch_up", "count"), [("none", 0), ("last", 1), ("all", 7)])
async def test_ticks_missed_while_down(stage: Stage, catch_up: str, count: int) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *", catch_up=catch_up)
    await stage.pass_(MINUTE)
    await stage.restart(down_ms=7 * MINUTE + 30_000, reboot=True)
    await stage.settle()

    assert len(stage.sink.events) == count
    assert len(await stage.pass_(MINUTE)) == 1


@pytest.mark.parametrize(("catch_up", "count"), [("none", 0), ("last", 1), ("all", 3)])
async def test_an_interval_goes_on_from_its_last_tick_after_a_reboot(
    stage: Stage, catch_up: str, count: int
) -> None:
    await stage.call("interval", "CREATE", minutes=5, catch_up=catch_up)
    await stage.pass_(31_000)
    await stage.restart(down_ms=17 * MINUTE, reboot=True)
    await stage.settle()

    assert len(stage.sink.events) == count
    assert await stage.pass_(2 * MINUTE) == []
    assert len(await stage.pass_(MINUTE)) == 1


async def test_absolute_alarms_wait_for_the_clock_and_intervals_do_not(
    stage: Stage,
) -> None:
    await stage.call("alarm", "CREATE", cron="0 * * * *")
    minutes = Subscription(
        id="guest/i",
        namespace="guest",
        feed="whisk.system/alarms/interval",
        config={"minutes": 1, "startDate": START + 1000},
        changed=START,
    )
    await stage.state.save(minutes)
    await stage.restart(down_ms=1_000)
    await stage.pass_(10_000)
    await stage.restart(down_ms=-86_400_000, reboot=True)
    unsynced = stage.clock.health()
    fired = await stage.pass_(2 * 3_600_000, step=15_000)
    read = await stage.call("alarm", "READ")
    stage.wall = START + 3_600_000
    await stage.settle()

    assert unsynced["synced"] is False
    assert len(fired) == 120
    assert {event.subscription for event in stage.sink.events[:-1]} == {"guest/i"}
    assert read["status"]["waiting"] == "the clock is not synced"
    assert stage.sink.events[-1].subscription == "guest/t"
    assert stage.clock.health()["synced"] is True


async def test_a_clock_that_was_wrong_does_not_silence_alarms_for_years(
    stage: Stage,
) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *")
    stage.wall += 10 * 365 * 86_400_000
    await stage.pass_(1_000)
    assert len(stage.sink.events) == 1
    stage.kept, stage.wall = True, START + MINUTE + 1_000
    await stage.settle()

    assert len(await stage.pass_(2 * MINUTE)) == 2


async def test_the_clock_is_written_rarely(stage: Stage) -> None:
    kept = stage.state.notes.get("clock")
    await stage.pass_(540_000, step=60_000)
    assert stage.state.notes.get("clock") == kept
    await stage.pass_(120_000, step=60_000)

    assert stage.state.notes["clock"] != kept


async def test_an_alarm_that_cannot_be_read_is_shown_and_stops_nothing(
    stage: Stage,
) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *")
    stage.state.saved["guest/t"].config["cron"] = "nonsense"
    await stage.restart(down_ms=0)

    assert stage.source.health()["unusable"][0]["id"] == "guest/t"
    assert (await stage.call("alarm", "READ"))["status"]["state"] == "unusable"


async def test_ten_thousand_alarms_share_one_timer_and_leave_others_the_loop(
    stage: Stage,
) -> None:
    for number in range(10_000):
        await stage.state.save(
            Subscription(
                id=f"guest/t{number}",
                namespace="guest",
                feed="whisk.system/alarms/alarm",
                config={"cron": "* * * * *"},
                changed=START,
            )
        )
    tasks = len(asyncio.all_tasks())
    await stage.restart(down_ms=0)
    async with asyncio.timeout(15):
        while stage.source.health()["alarms"] < 10_000:
            await asyncio.sleep(0)
    stage.wall += MINUTE
    turns = 0
    stage.source._changed.set()
    async with asyncio.timeout(15):
        while stage.source.fired < 10_000:
            turns += 1
            await asyncio.sleep(0)

    assert turns >= 100
    assert len(asyncio.all_tasks()) == tasks
    assert len({event.subscription for event in stage.sink.events}) == 10_000


# --- the feeds ----------------------------------------------------------------------


async def test_h23_read_answers_as_the_alarms_package_does(stage: Stage) -> None:
    await stage.call(
        "alarm", "CREATE", cron="0 6 * * *", timezone="Europe/Berlin", strict="false"
    )

    assert await stage.call("alarm", "READ") == {
        "config": {
            "name": "t",
            "namespace": "guest",
            "payload": {},
            "catch_up": "last",
            "cron": "0 6 * * *",
            "timezone": "Europe/Berlin",
            "strict": "false",
        },
        "status": {
            "active": True,
            "dateChanged": START,
            "dateChangedISO": "2027-01-15T08:00:00.000+00:00",
            "fired": 0,
            "next": START + 21 * 3_600_000 + 12_000,
        },
    }


@pytest.mark.parametrize(
    ("kind", "arguments", "text"),
    [
        ("alarm", {}, "alarms trigger feed is missing the cron parameter"),
        ("alarm", {"cron": "x"}, "cron pattern 'x' is not valid"),
        ("alarm", {"cron": "* * * * *", "timezone": "X/Y"}, "timezone 'X/Y' is not"),
        ("alarm", {"cron": "* * * * *", "catch_up": "some"}, "catch_up: expected one"),
        ("alarm", {"cron": "* * * * *", "typo": 1}, "typo: is not known here"),
        ("alarm", {"cron": "* * * * *", "strict": 7}, "strict: expected true or false"),
        (
            "alarm",
            {"cron": "0 0 1 1 *", "stopDate": START + MINUTE},
            "the first scheduled trigger fire is not until after the stop date",
        ),
        (
            "alarm",
            {"cron": "* * * * *", "stopDate": START + 1, "maxTriggers": 1},
            "maxTriggers is not allowed when the stopDate parameter is specified",
        ),
        ("interval", {}, "interval trigger feed is missing the minutes parameter"),
        ("interval", {"minutes": 1.5}, "the minutes parameter must be an integer"),
        ("interval", {"minutes": "soon"}, "the minutes parameter must be an integer"),
        ("interval", {"minutes": -1}, "must be an integer greater than zero"),
        (
            "interval",
            {"minutes": 1, "startDate": START + 20, "stopDate": START + 10},
            "must be greater than the startDate parameter",
        ),
        ("once", {}, "alarms once trigger feed is missing the date parameter"),
        ("once", {"date": "tomorrow"}, "date parameter 'tomorrow' is not a valid Date"),
        ("once", {"date": START}, f"date parameter '{START}' must be in the future"),
        ("once", {"date": 1e18}, "is not a valid Date"),
        (
            "once",
            {"date": START + 1, "deleteAfterFire": "all"},
            "deleteAfterFire parameter must be one of [false, true, rules].",
        ),
    ],
)
async def test_h23_what_is_wrong_is_said_in_upstreams_words(
    stage: Stage, kind: str, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(BuiltinError) as raised:
        await stage.call(kind, "CREATE", **arguments)

    assert text in str(raised.value)
    assert stage.state.saved == {}


async def test_dates_are_numbers_or_iso_8601(stage: Stage) -> None:
    for date in (
        START + 5_000,
        "2027-01-15T08:00:05Z",
        "2027-01-15T09:00:05+01:00",
        "2027-01-15T08:00:05",
    ):
        made = await stage.call("once", "CREATE", date=date)
        assert made["status"]["next"] == START + 5_000
        assert made["config"]["date"] == date


async def test_update_pause_and_unpause_count_from_that_moment(stage: Stage) -> None:
    await stage.call("alarm", "CREATE", cron="* * * * *", catch_up="all")
    await stage.call("alarm", "PAUSE")
    assert await stage.pass_(3 * MINUTE) == []
    await stage.call("alarm", "UNPAUSE")
    assert len(await stage.pass_(MINUTE)) == 1
    await stage.call("alarm", "UPDATE", cron="*/5 * * * *", trigger_payload={"n": 1})
    assert await stage.pass_(MINUTE) == ["2027-01-15T08:05:00+00:00"]
    await stage.call("alarm", "DELETE")
    assert await stage.pass_(10 * MINUTE, step=10_000) == []

    assert msgspec.json.decode(stage.sink.events[-1].payload) == {"n": 1}


async def test_an_old_start_date_does_not_forbid_an_update(stage: Stage) -> None:
    await stage.call("interval", "CREATE", minutes=1, startDate=START + 1_000)
    await stage.pass_(2_000)
    await stage.call("interval", "UPDATE", trigger_payload={"n": 2})

    assert len(await stage.pass_(MINUTE)) == 1
