"""The GPIO package on gpiozero's own mock pins."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge_agent.events.alarm_feed import AlarmsPackage
from edge_agent.events.alarms import AlarmSource
from edge_agent.events.base import BuiltinError, Receipt
from edge_agent.events.clock import Clock
from edge_agent.events.fake import FakeSink, FakeState
from edge_agent.events.gpio import GpioSource
from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_feed import GpioPackage
from edge_agent.events.gpio_pins import Pins
from edge_agent.model.jobs import Identity
from edge_agent.settings import Gpio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.events.lifecycle import Feeds

pytest.importorskip("gpiozero", reason="pip install 'edgewhisk[gpio]'")

GUEST = Identity(subject="guest", namespace="guest", uuid="u", key="k")
OTHER = Identity(subject="other", namespace="other", uuid="o", key="k")


class Bench:
    """A board of mock pins with its package; `drive` turns them as a finger would."""

    def __init__(self, factory: Any = "mock") -> None:
        self.state, self.sink = FakeState(), FakeSink()
        self.board, self.pins = Board(Gpio(pin_factory=factory)), Pins()
        self.there = True
        self.source = GpioSource(
            self.board, self.pins, self.state, self.sink, exists=lambda _: self.there
        )
        self.feeds: Feeds = {}
        self.package = GpioPackage(
            self.source, self.board, self.pins, self.state, feeds=self.feeds
        )
        self._running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._running = asyncio.create_task(self.source.run())
        await asyncio.sleep(0)

    async def down(self) -> None:
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def watch(self, event: str = "CREATE", of: str = "t", **given: Any) -> Any:
        life = {"triggerName": f"/_/{of}", "authKey": "u:k"}
        call = next(c for n, c in self.package.actions.items() if n.name == "watch")
        return await call(GUEST, {**life, "lifecycleEvent": event, **given})

    async def write(self, who: Identity = GUEST, **given: Any) -> Any:
        return await self.package.write(who, given)

    async def read(self, who: Identity = GUEST, **given: Any) -> Any:
        return await self.package.read(who, given)

    async def close(self, who: Identity = GUEST, **given: Any) -> Any:
        return await self.package.close(who, given)

    async def drive(self, pin: int, *levels: int) -> None:
        await self.package.mock(GUEST, {"pin": pin, "level": list(levels)})

    async def level(self, pin: int) -> Any:
        return (await self.package.mock(GUEST, {"pin": pin}))["level"]

    async def events(self, count: int) -> list[tuple[str, Any]]:
        """The words and values of what was fired, once there are `count`."""
        events = await self.sink.wait_for(count)
        payloads = [msgspec.json.decode(event.payload) for event in events]
        return [(one["event"], one["value"]) for one in payloads]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.run()
    yield bench
    await bench.down()
    assert not [t for t in threading.enumerate() if t.name.startswith("gpio")]


class _Triggers:
    def exists(self, _: str) -> bool:
        return True

    async def delete(self, trigger: str, *, rules: bool) -> None:
        raise AssertionError(trigger, rules)


async def until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


# --- watching -----------------------------------------------------------------------


async def test_a_button_fires_what_is_documented(bench: Bench) -> None:
    before = time.time() * 1000
    made = await bench.watch(device="button", pin="GPIO17")
    await bench.drive(17, 0, 1)
    await bench.events(2)
    payload = msgspec.json.decode(bench.sink.events[0].payload)

    assert before <= payload.pop("time") <= time.time() * 1000
    assert payload == {"device": "button", "pins": [17], "event": "pressed", "value": 1}
    assert await bench.events(2) == [("pressed", 1), ("released", 0)]
    assert bench.sink.events[0].subscription == "guest/t"
    assert bench.sink.events[0].origin == "gpio:17:pressed"
    assert made["config"] == {
        "name": "t",
        "namespace": "guest",
        "device": "button",
        "pin": 17,
        "pull_up": True,
        "hold_repeat": False,
        "events": ["pressed", "released"],
    }
    assert made["status"]["state"] == "watching"


async def test_the_first_level_fires_nothing(bench: Bench) -> None:
    await bench.drive(4, 1)
    await bench.watch(device="digital", pin=4)
    await asyncio.sleep(0.05)
    assert bench.sink.events == []
    await bench.drive(4, 0)

    assert await bench.events(1) == [("inactive", 0)]


async def test_a_button_that_is_held_says_so_again_and_again(bench: Bench) -> None:
    await bench.watch(pin=17, hold_ms=30, hold_repeat=True, events=["held"])
    await bench.drive(17, 0)
    await bench.events(3)
    await bench.drive(17, 1)

    assert {event for event, _ in await bench.events(3)} == {"held"}


@pytest.mark.parametrize(
    ("device", "levels", "events"),
    [
        ("motion", (1, 0), ["motion", "no_motion"]),
        ("line", (0, 1), ["line", "no_line"]),
        ("digital", (1, 0), ["active", "inactive"]),
    ],
)
async def test_what_is_on_or_off(
    bench: Bench, device: str, levels: tuple[int, int], events: list[str]
) -> None:
    more = {} if device == "digital" else {"rate_hz": 200, "queue_len": 1}
    pull = {"pull_up": False} if device == "digital" else {}
    await bench.watch(device=device, pin=5, **more, **pull)
    await bench.drive(5, levels[1])
    await asyncio.sleep(0.05)
    before = len(bench.sink.events)
    for level, count in zip(levels, (1, 2), strict=True):
        await bench.drive(5, level)
        await bench.events(before + count)

    found = await bench.events(before + 2)
    assert [event for event, _ in found[before:]] == events


async def test_a_rotary_encoder_counts_its_steps(bench: Bench) -> None:
    await bench.watch(device="rotary", a=20, b=21)
    for pin, level in ((20, 0), (21, 0), (20, 1), (21, 1)):
        await bench.drive(pin, level)
    for pin, level in ((21, 0), (20, 0), (21, 1), (20, 1)):
        await bench.drive(pin, level)

    assert await bench.events(2) == [("clockwise", 1), ("counter_clockwise", 0)]


async def test_a_light_sensor_has_thresholds(bench: Bench) -> None:
    charging: Any = None

    def replace_pin(board: Board) -> None:
        nonlocal charging
        mock = __import__("gpiozero.pins.mock", fromlist=["x"])
        board.factory.pin_class = mock.MockPin
        charging = board.factory.pin(
            18, pin_class=mock.MockChargingPin, charge_time=0.009
        )

    await bench.board.call(replace_pin)
    await bench.watch(
        device="light", pin=18, high=0.6, low=0.4, rate_hz=50, queue_len=1
    )
    await asyncio.sleep(0.3)
    charging.charge_time = 0.002
    events = await bench.events(1)
    charging.charge_time = 0.0085
    events = await bench.events(2)

    assert [event for event, _ in events] == ["light", "dark"]
    assert events[0][1] >= 0.6


@pytest.mark.filterwarnings("ignore:For more accurate readings")
async def test_a_distance_sensor_measures_metres(bench: Bench) -> None:
    trigger: Any = None

    def replace_pins(board: Board) -> None:
        nonlocal trigger
        mock = __import__("gpiozero.pins.mock", fromlist=["x"])
        board.factory.pin_class = mock.MockPin
        echo = board.factory.pin(23)
        trigger = board.factory.pin(
            24, pin_class=mock.MockTriggerPin, echo_pin=echo, echo_time=0.001
        )

    await bench.board.call(replace_pins)
    await bench.watch(
        device="distance",
        echo=23,
        trigger=24,
        high=0.4,
        max_m=2,
        queue_len=1,
        rate_hz=20,
    )
    await asyncio.sleep(0.4)
    trigger.echo_time = 0.007
    far = await bench.events(1)

    assert far[0][0] == "out_of_range"
    assert far[0][1] > 0.4


async def test_a_channel_of_an_adc_is_sampled(bench: Bench) -> None:
    converter: Any = None

    def connect(board: Board) -> None:
        nonlocal converter
        mock = __import__("gpiozero.pins.mock", fromlist=["x"])
        board.factory.pin_class = mock.MockPin

        class Converter(mock.MockSPIDevice):  # type: ignore[misc, name-defined]
            """The slave's side of an MCP3008; `values` are its channels."""

            values = [0] * 8

            def on_start(self) -> None:
                super().on_start()
                self.asked: list[int] = []

            def on_bit(self) -> None:
                """A start bit, one for single, three for the channel: then the answer."""
                if not self.asked and not self.rx_buf[-1]:
                    return
                self.asked.append(int(self.rx_buf[-1]))
                if len(self.asked) == 5:
                    channel = self.asked[2] * 4 + self.asked[3] * 2 + self.asked[4]
                    self.tx_word(self.values[channel], 12)

        converter = Converter(11, 10, 9, 8, pin_factory=board.factory)

    await bench.board.call(connect)
    await bench.watch(device="adc", channel=2, high=0.5, low=0.3, rate_hz=100)
    await asyncio.sleep(0.1)
    converter.values[2] = 900
    assert (await bench.events(1))[0][0] == "above"
    converter.values[2] = 400
    await asyncio.sleep(0.05)
    converter.values[2] = 100
    events = await bench.events(2)
    payload = msgspec.json.decode(bench.sink.events[1].payload)

    converter.values[3] = 1023
    held = await bench.read(device="adc", channel=2)
    free = await bench.read(device="adc", channel=3)

    assert held["value"] == pytest.approx(100 / 1023, abs=0.01)
    assert free["value"] == pytest.approx(1, abs=0.01)
    assert [event for event, _ in events] == ["above", "below"]
    assert (payload["channel"], payload["pins"]) == (2, [])


async def test_an_edge_that_is_refused_waits_its_turn(bench: Bench) -> None:
    await bench.watch(pin=17)
    bench.sink.answer = Receipt.REFUSED
    await bench.drive(17, 0)
    await until(lambda: bench.source.health()["waiting"] == 1)
    await bench.drive(17, 1)
    await until(lambda: bench.source.health()["waiting"] == 2)
    bench.sink.answer = Receipt.KEPT
    await until(lambda: bench.source.health()["waiting"] == 0)
    await until(lambda: bench.source.fired == 2)

    assert (await bench.events(3))[-2:] == [("pressed", 1), ("released", 0)]


# --- the life of a watch ------------------------------------------------------------


async def test_a_paused_or_deleted_watch_lets_go_of_its_pin(bench: Bench) -> None:
    await bench.watch(pin=17)
    await bench.watch("PAUSE")
    await bench.write(device="led", pin=17, value=True)
    with pytest.raises(
        BuiltinError, match=r"GPIO17 is held by the action write of gue"
    ):
        await bench.watch("UNPAUSE")
    await bench.close(pin=17)
    assert (await bench.watch("UNPAUSE"))["status"]["state"] == "watching"
    await bench.watch("DELETE")
    await bench.watch(of="u", pin=17)
    await bench.drive(17, 0)
    await bench.events(1)

    assert bench.sink.events[0].subscription == "guest/u"


async def test_a_trigger_that_is_gone_keeps_no_pin(bench: Bench) -> None:
    await bench.watch(pin=17)
    bench.sink.answer = Receipt.UNWANTED
    await bench.drive(17, 0)
    await until(lambda: bench.source.fired == 1)
    assert bench.pins.health() != {}
    bench.there = False
    await bench.drive(17, 1)
    await until(lambda: bench.pins.health() == {})

    assert (await bench.watch("READ"))["status"]["error"] == "the trigger is gone"


async def test_a_trigger_that_gets_another_feed_leaves_the_first(bench: Bench) -> None:
    clock = Clock()
    alarms = AlarmSource(bench.state, bench.sink, _Triggers(), clock)
    package = AlarmsPackage(alarms, bench.state, feeds=bench.feeds)
    once = next(call for name, call in package.feeds.items() if name.name == "once")
    await bench.watch(pin=17)
    life = {"triggerName": "/_/t", "authKey": "u:k", "lifecycleEvent": "CREATE"}
    await once(GUEST, {**life, "date": "2999-01-01"})

    assert bench.pins.health() == {}
    assert alarms.health()["alarms"] == 1
    await bench.watch(pin=17)
    assert alarms.health()["alarms"] == 0


async def test_a_pin_has_one_holder(bench: Bench) -> None:
    await bench.watch(pin=17)
    for conflict in (
        bench.watch(of="u", pin=17),
        bench.watch(of="u", device="rotary", a=16, b=17),
        bench.write(device="led", pin=17, value=True),
        bench.close(pin=17),
        bench.read(OTHER, pin=17),
    ):
        with pytest.raises(
            BuiltinError, match=r"held by the trigger /guest/t \(button\)"
        ):
            await conflict
    assert bench.pins.health() == {"GPIO17": "trigger /guest/t (button)"}
    assert list(bench.state.saved) == ["guest/t"]
    assert (await bench.read(pin=17, device="button"))["value"] == 0


async def test_an_update_moves_to_another_pin_or_stays_as_it_was(bench: Bench) -> None:
    await bench.watch(pin=17)
    await bench.write(device="led", pin=5, value=True)
    with pytest.raises(BuiltinError, match="GPIO5 is held"):
        await bench.watch("UPDATE", pin=5)
    await bench.watch("UPDATE", pin=6)
    await bench.drive(6, 0)
    await bench.events(1)

    assert set(bench.pins.health()) == {"GPIO5", "GPIO6"}


async def test_watches_are_there_after_a_restart() -> None:
    before, again = Bench(), Bench()
    await before.run()
    await before.watch(pin=17)
    await before.down()
    again.state.saved = before.state.saved
    await again.run()
    await until(lambda: bool(again.pins.health()))
    await until(lambda: again.source.status("guest/t")["state"] == "watching")
    await again.drive(17, 0)

    assert await again.events(1) == [("pressed", 1)]
    await again.down()


# --- writing and reading ------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"device": "led", "pin": 5, "value": True}, 1),
        ({"device": "digital", "pin": 5, "value": 0}, 0),
        ({"device": "buzzer", "pin": 5, "value": "toggle"}, 1),
        ({"device": "led", "pin": 5, "value": True, "active_high": False}, 1),
        ({"device": "pwmled", "pin": 5, "value": 0.25}, 0.25),
        ({"device": "servo", "pin": 5, "value": -0.5}, -0.5),
        ({"device": "servo", "pin": 5}, None),
        ({"device": "motor", "forward": 5, "backward": 6, "value": -1}, -1),
        (
            {"device": "motor", "forward": 5, "backward": 6, "enable": 7, "value": 1},
            1,
        ),
        ({"device": "tonalbuzzer", "pin": 5, "value": 440}, 440),
        ({"device": "tonalbuzzer", "pin": 5}, None),
        (
            {"device": "rgbled", "red": 5, "green": 6, "blue": 7, "value": "#ff0033"},
            [1.0, 0.0, 0.2],
        ),
    ],
)
async def test_outputs_take_their_values(
    bench: Bench, given: dict[str, Any], value: Any
) -> None:
    written = await bench.write(**given)
    expected = value if not isinstance(value, float) else pytest.approx(value)

    assert written["value"] == expected
    assert written["pins"][0] == 5
    assert (await bench.write(**given))["device"] == given["device"]
    assert (await bench.close(pin=5))["closed"] == ["GPIO5"]
    assert bench.pins.health() == {}


async def test_a_note_has_its_frequency(bench: Bench) -> None:
    written = await bench.write(device="tonalbuzzer", pin=5, value="A4")

    assert written["value"] == pytest.approx(440)


async def test_patterns_run_by_themselves_and_end(bench: Bench) -> None:
    await bench.write(
        device="led", pin=5, pattern="blink", on_ms=20, off_ms=20, count=3
    )
    await asyncio.sleep(0.3)
    pin = await bench.board.call(lambda board: board.factory.pin(5))
    await bench.write(device="pwmled", pin=6, pattern="pulse", fade_in_ms=50)
    await asyncio.sleep(0.1)
    await bench.write(device="pwmled", pin=6, value=0)

    assert [state.state for state in pin.states].count(True) == 3
    assert await bench.level(6) == 0


async def test_an_event_sets_the_output_that_was_bound(bench: Bench) -> None:
    event = {"device": "button", "pins": [17], "event": "pressed", "time": 1.5}
    lamp = {"device": "led", "pin": 27}
    for value in (1, 0, 1):
        await bench.write(**event, value=value, output=lamp)
        assert await bench.level(27) == value
    await bench.write(**event, value=1, output={**lamp, "value": False})

    assert await bench.level(27) == 0
    with pytest.raises(BuiltinError, match="output: expected an object"):
        await bench.write(output=27, value=1)


async def test_a_held_output_can_be_read_and_is_no_other_device(bench: Bench) -> None:
    await bench.write(device="led", pin=5, value=True)
    with pytest.raises(BuiltinError, match="GPIO5 is open as led; close it first"):
        await bench.write(device="pwmled", pin=5, value=0.5)
    with pytest.raises(BuiltinError, match="held by the action write of guest"):
        await bench.write(OTHER, device="led", pin=5, value=False)
    with pytest.raises(BuiltinError, match="held by the action write of guest"):
        await bench.close(OTHER, pin=5)

    assert (await bench.read(pin=5))["value"] == 1
    assert await bench.level(5) == 1


async def test_a_free_pin_is_read_and_let_go(bench: Bench) -> None:
    await bench.drive(22, 1)
    read = await bench.read(pin=22)

    assert (read["device"], read["pins"], read["value"]) == ("digital", [22], 1)
    assert bench.pins.health() == {}
    assert (await bench.close(pin=22)) == {"closed": []}


async def test_the_end_of_the_node_lets_go_of_outputs() -> None:
    bench = Bench()
    await bench.run()
    await bench.write(device="led", pin=5, pattern="blink", on_ms=10, off_ms=10)
    pin = await bench.board.call(lambda board: board.factory.pin(5))
    await bench.down()
    changes = len(pin.states)
    await asyncio.sleep(0.1)

    assert pin.function == "input"
    assert len(pin.states) == changes
    with pytest.raises(BuiltinError, match="the agent stops"):
        await bench.write(device="led", pin=5, value=True)


# --- what is wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "pin: is missing"),
        ({"pin": 28}, "pin: expected GPIO0 to GPIO27, got 28"),
        ({"pin": True}, "pin: expected GPIO0"),
        ({"pin": 1, "device": "lamp"}, "device: expected one of button"),
        ({"pin": 1, "colour": 1}, "colour: is not known here; known are device"),
        ({"pin": 1, "bounce_ms": -1}, "bounce_ms: expected 0 to 10000, got -1"),
        ({"pin": 1, "hold_repeat": 1}, "hold_repeat: expected true or false"),
        ({"pin": 1, "events": ["held"]}, "events: held needs hold_ms"),
        ({"pin": 1, "events": ["bitten"]}, "events: expected some of pressed"),
        ({"device": "rotary", "a": 1, "b": 1}, "b: GPIO1 is given twice"),
        ({"device": "adc"}, "high: is missing; say high, delta or both"),
        ({"device": "adc", "high": 0.2, "low": 0.4}, "low: must not be above high"),
        ({"device": "adc", "high": 2}, "high: expected 0 to 1, got 2"),
        (
            {"device": "adc", "high": 0.5, "chip": "MCP3001", "channel": 1},
            "channel: MCP3001 has channel 0 only",
        ),
        (
            {"device": "digital", "pin": 1, "pull_up": True, "active_high": True},
            "active_high: is given by pull_up",
        ),
    ],
)
async def test_a_watch_says_what_is_wrong(
    bench: Bench, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(BuiltinError) as raised:
        await bench.watch(**given)

    assert text in str(raised.value)
    assert bench.state.saved == {}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"pin": 5}, "value: is missing; say value or pattern"),
        ({"pin": 5, "value": 2}, "value: expected true or false, got 2"),
        ({"pin": 5, "pattern": "pulse"}, "pattern: expected one of blink, none"),
        ({"pin": 5, "value": 1, "on_ms": 5}, "on_ms: belongs to a pattern"),
        (
            {"device": "pwmled", "pin": 5, "pattern": "pulse", "on_ms": 5},
            "on_ms: is not part of pulse",
        ),
        ({"device": "servo", "pin": 5, "value": 3}, "value: expected -1 to 1, got 3"),
        ({"device": "tonalbuzzer", "pin": 5, "value": "H9"}, "value: expected a note"),
        (
            {"device": "rgbled", "red": 1, "green": 2, "blue": 3, "value": "red"},
            "#rrggbb",
        ),
    ],
)
async def test_a_write_says_what_is_wrong(
    bench: Bench, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(BuiltinError) as raised:
        await bench.write(**given)

    assert text in str(raised.value)
    assert bench.pins.health() == {}


async def test_a_node_without_gpio_says_so() -> None:
    bench = Bench("none")
    await bench.run()
    for call in (bench.watch(pin=1), bench.write(pin=1, value=1), bench.read(pin=1)):
        with pytest.raises(BuiltinError, match=r"gpio\.pin_factory is none"):
            await call
    assert "mock" not in {name.name for name in bench.package.actions}
    await bench.down()


async def test_a_node_that_lacks_the_extra_says_which() -> None:
    bench = Bench("pigpio")  # it is not part of the extra either
    await bench.run()
    with pytest.raises(BuiltinError, match=r"pip install 'edgewhisk\[gpio\]'"):
        await bench.write(pin=1, value=1)
    assert bench.pins.health() == {}
    await bench.down()
