"""The package `/whisk.system/gpio`: the feed `watch`; actions to write, read and close.

Where the pins are gpiozero's mock ones, the action `mock` drives them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edge_agent.events.base import BuiltinError, ConfigError, SourceState, Subscription
from edge_agent.events.gpio import FEED, GpioSource
from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_drive import Drives
from edge_agent.events.gpio_inputs import KINDS as INPUTS
from edge_agent.events.gpio_inputs import InputConfig, parse_input
from edge_agent.events.gpio_options import pin, read_pins, whole
from edge_agent.events.gpio_outputs import KINDS as OUTPUTS
from edge_agent.events.gpio_outputs import parse_output
from edge_agent.events.gpio_pins import Holder, PinConflict, Pins, places
from edge_agent.events.gpio_watch import PING_S, WARM_UP_LENGTHS, open_input, value_of
from edge_agent.events.lifecycle import Arguments, Config, Feeds, Lifecycle
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

#: How many values a sensor that averages gathers for one `read`.
READ_LENGTH = 3
#: How long the pins' one thread may be kept by a list of levels.
MOCK_MOST_MS = 5_000
_PIN = {"name": "pin", "description": "As 17 or GPIO17; see the device for others"}
_INPUT = {"name": "device", "description": f"One of {', '.join(INPUTS)}"}
_OUTPUT = {"name": "device", "description": f"One of {', '.join(OUTPUTS)}"}

#: What GET shows of each (B14, B18).
ANNOTATIONS: Mapping[str, Mapping[str, Any]] = {
    "watch": {
        "feed": True,
        "description": "Fire a trigger for what happens at a pin",
        "parameters": [
            _INPUT,
            _PIN,
            {"name": "events", "description": "Which ones; all by default"},
            {"name": "bounce_ms"},
            {"name": "hold_ms"},
            {"name": "high", "description": "The threshold of what measures"},
            {"name": "low", "description": "Below it the value has fallen again"},
            {"name": "delta", "description": "A change worth an event"},
            {"name": "rate_hz", "description": "How often it is looked at"},
        ],
        "sampleInput": {"device": "button", "pin": 17, "bounce_ms": 20},
    },
    "write": {
        "description": "Set an output, once or in a pattern; it stays so",
        "parameters": [
            _OUTPUT,
            _PIN,
            {"name": "value", "description": "What the device takes"},
            {"name": "pattern", "description": "blink or pulse"},
            {"name": "count", "description": "How often; for ever by default"},
            {"name": "output", "description": "All but the value in one: for rules"},
        ],
        "sampleInput": {"device": "led", "pin": 27, "value": True},
    },
    "read": {
        "description": "Read a pin or a sensor, held or not",
        "parameters": [_INPUT, _PIN],
        "sampleInput": {"device": "digital", "pin": 17},
    },
    "close": {
        "description": "Let go of an output",
        "parameters": [_PIN, {"name": "pins", "description": "Several"}],
        "sampleInput": {"pin": 27},
    },
    "mock": {
        "description": "Drive a mock input pin, or read a mock pin's level",
        "parameters": [
            {"name": "pin", "required": True},
            {"name": "level", "description": "0, 1, or a list; left out to read"},
            {"name": "every_ms", "description": "Between the levels of a list"},
        ],
        "sampleInput": {"pin": 17, "level": 0},
    },
}


class GpioPackage:
    """The coroutines of the package, and the feed for its lifecycle."""

    feed = FEED
    noun = "GPIO watch"

    def __init__(
        self,
        source: GpioSource,
        board: Board,
        pins: Pins,
        state: SourceState,
        *,
        feeds: Feeds | None = None,
    ) -> None:
        self._source = source
        self._board = board
        self._pins = pins
        self._drives = Drives()
        self._lifecycle = Lifecycle(self, state, feeds=feeds)
        board.before_close(self._drives.close_all)
        self.actions = {
            FullName("whisk.system", name, "gpio"): call
            for name, call in (
                ("watch", self._lifecycle.__call__),
                ("write", self.write),
                ("read", self.read),
                ("close", self.close),
                *([("mock", self.mock)] if board.is_mock else []),
            )
        }

    # --- actions --------------------------------------------------------------------

    async def write(self, identity: Identity, arguments: Arguments) -> Any:
        """Set an output.

        Raises:
            BuiltinError: wrong arguments, a pin held by another, or no GPIO.
        """
        config = parse_output(_output(_own(arguments)))
        key = _key(identity, config.pins.values())
        text = f"action write of {identity.namespace} ({config.device})"
        was_held = self._holds(key)
        self._pins.claim(
            places(config.pins.values()), Holder(key, identity.namespace, text)
        )
        try:
            value = await self._board.call(lambda b: self._drives.write(b, config))
        except BuiltinError:
            if not was_held:
                self._pins.release(key)
            raise
        shown = {"device": config.device, "pins": list(config.pins.values())}
        if config.pattern not in (None, "none"):
            shown["pattern"] = config.pattern
        return {**shown, "value": value}

    async def read(self, identity: Identity, arguments: Arguments) -> Any:
        """What a pin or sensor shows; one that nobody holds is opened for a moment.

        Raises:
            BuiltinError: wrong arguments, a pin of another namespace, or no GPIO.
        """
        config = _read_config(_own(arguments))
        where = places(config.pins.values(), config.place)
        holders = [holder for place in where if (holder := self._pins.holder(place))]
        for place, holder in zip(where, holders, strict=False):
            if holder.namespace != identity.namespace:
                raise PinConflict(place, holder)
        if holders:
            value = await self._held_value(config, where)
        else:
            value = await self._board.call(lambda board: _read(board, config))
        now_ms = round(time.time() * 1000, 3)
        shown = {"device": config.device, "pins": list(config.pins.values())}
        return {**shown, "value": value, "time": now_ms}

    async def close(self, identity: Identity, arguments: Arguments) -> Any:
        """Let go of the outputs at these pins.

        Raises:
            BuiltinError: a pin is a trigger's, or of another namespace.
        """
        given = arguments.get("pins", [arguments.get("pin")])
        pins = {pin("pins", one) for one in given if one is not None}
        if not pins:
            raise ConfigError("pin", "is missing; expected a pin such as 17 or GPIO17")
        closed = {}
        for place in places(sorted(pins)):
            holder = self._pins.holder(place)
            if holder is None:
                continue
            if holder.namespace != identity.namespace or "|" not in holder.key:
                raise PinConflict(place, holder)
            closed[place] = holder.key
        await self._board.call(lambda _: self._drives.close(pins))
        for key in set(closed.values()):
            self._pins.release(key)
        return {"closed": list(closed)}

    async def mock(self, _: Identity, arguments: Arguments) -> Any:
        """Drive a mock input pin as a button would, or read any mock pin's level.

        Raises:
            BuiltinError: there is no such pin or level.
        """
        number = read_pins(arguments, ("pin",))["pin"]
        levels = arguments.get("level", [])
        levels = levels if isinstance(levels, list) else [levels]
        if any(level not in (0, 1) for level in levels):
            raise ConfigError("level", f"expected 0, 1 or a list of them: {levels!r}")
        every_ms = whole(0, 1000)("every_ms", arguments.get("every_ms", 0))
        if every_ms * len(levels) > MOCK_MOST_MS:
            raise ConfigError("level", f"would take longer than {MOCK_MOST_MS} ms")
        return await self._board.call(
            lambda board: _drive(board, number, levels, every_ms / 1000)
        )

    # --- for the lifecycle ----------------------------------------------------------

    async def accept(
        self, trigger: str, config: Config, before: Subscription | None
    ) -> Config:
        del before
        self._source.check(trigger, config)
        return config

    async def start(self, subscription: Subscription) -> None:
        await self._source.subscribe(subscription)

    def stop(self, subscription: Subscription, *, deleted: bool) -> None:
        del deleted
        self._source.unsubscribe(subscription.id)

    def status(self, subscription: Subscription) -> dict[str, Any]:
        return self._source.status(subscription.id)

    def shown(self, subscription: Subscription) -> Config:
        try:
            config = parse_input(subscription.config)
        except BuiltinError:  # the status says what is wrong with it
            return subscription.config
        set_ones = {k: v for k, v in config.options.items() if v is not None}
        events = sorted(config.events)
        return {"device": config.device, **config.pins, **set_ones, "events": events}

    # --- inside ---------------------------------------------------------------------

    def _holds(self, key: str) -> bool:
        wanted = key.partition("|")[2].split(",")
        holder = self._pins.holder(wanted[0])
        return holder is not None and holder.key == key

    async def _held_value(self, config: InputConfig, where: list[str]) -> Any:
        watch = self._source.watch_at(where[0])
        if watch is not None:
            return await self._board.call(lambda _: watch.value())
        number = next(iter(config.pins.values()))

        def value(_: Board) -> Any:
            drive = self._drives.at(number)
            return None if drive is None else drive.value()

        return await self._board.call(value)


def _own(arguments: Arguments) -> Config:
    return {k: v for k, v in arguments.items() if not k.startswith("__ow_")}


def _output(given: Config) -> Config:
    """With `output`, the device is in there and only the value may be an event's.

    So a package bound with `output` can be a rule's action: what the trigger was fired
    with has a device and pins of its own.
    """
    output = given.get("output")
    if output is None:
        return given
    if not isinstance(output, dict):
        raise ConfigError("output", f"expected an object, got {output!r}")
    return {"value": given.get("value"), **output}


def _key(identity: Identity, pins: Any) -> str:
    return f"{identity.namespace}|{','.join(places(sorted(pins)))}"


def _read_config(given: Config) -> InputConfig:
    """Reading needs no threshold, and no long average."""
    config = {"device": "digital", **given}
    kind = INPUTS.get(str(config["device"]))
    if kind is not None and kind.is_measured:
        config = {"delta": 1, **config}
    if kind is not None and "queue_len" in kind.options:
        config = {"queue_len": READ_LENGTH, **config}
    return parse_input(config)


def _read(board: Board, config: InputConfig) -> float:
    device = open_input(board, config)
    try:
        if "queue_len" in config.options:
            time.sleep(WARM_UP_LENGTHS * PING_S * config.options["queue_len"])
        return value_of(config, device)
    finally:
        device.close()


def _drive(
    board: Board, number: int, levels: list[int], every_s: float
) -> dict[str, Any]:
    mock = board.factory.pin(number)
    if levels and mock.function != "input":
        raise BuiltinError(f"GPIO{number} is an output: nobody can press it")
    for place, level in enumerate(levels):
        time.sleep(every_s if place else 0)
        (mock.drive_high if level else mock.drive_low)()
    return {"pin": number, "level": mock.state, "function": mock.function}
