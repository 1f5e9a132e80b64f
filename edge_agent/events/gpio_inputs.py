"""What `/whisk.system/gpio/watch` can watch: devices, parameters, events. Pure.

    device    pins           parameters (times in ms)            events
    button    pin            pull_up, bounce_ms, hold_ms,        pressed, released,
                             hold_repeat                         held
    digital   pin            pull_up (or none: active_high),     active, inactive
                             bounce_ms
    motion    pin            pull_up, threshold, queue_len,      motion, no_motion
                             rate_hz
    line      pin            as motion                           line, no_line
    light     pin            high, low, delta, charge_ms,        light, dark, changed
                             queue_len, rate_hz
    distance  echo, trigger  high, low, delta, max_m (metres),   out_of_range,
                             queue_len, rate_hz                  in_range, changed
    rotary    a, b           bounce_ms, max_steps, wrap          clockwise,
                                                                 counter_clockwise
    adc       none           chip, channel, select, port,        above, below, changed
                             high, low, delta, rate_hz

`events` narrows what fires; `held` needs `hold_ms`, `changed` needs `delta`. A trigger
is fired with

    {"device": "button", "pins": [17], "event": "pressed", "value": 1,
     "time": 1700000000000.125}

where `value` is 0 or 1, for `held` the seconds, for `rotary` the steps, for `light` and
`adc` 0 to 1 and for `distance` metres; `time` is epoch ms; `adc` adds `channel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import ConfigError
from edge_agent.events.gpio_options import (
    Option,
    flag,
    number,
    one_of,
    read_options,
    read_pins,
    whole,
)

Parameters = Mapping[str, Any]

CHIPS = (
    "MCP3001",
    "MCP3002",
    "MCP3004",
    "MCP3008",
    "MCP3201",
    "MCP3202",
    "MCP3204",
    "MCP3208",
    "MCP3301",
    "MCP3302",
    "MCP3304",
)
SINGLE_CHANNEL = ("MCP3001", "MCP3201", "MCP3301")
COMMON = ("device", "events")
_BOUNCE = Option(number(0, 10_000))
_SMOOTH = {
    "pull_up": Option(flag, default=False),
    "threshold": Option(number(0, 1), 0.5),
    "queue_len": Option(whole(1, 1000), 1),
    "rate_hz": Option(number(0.1, 1000), 10),
}
_UNIT = number(0, 1)
_METRES = number(0, 20)


def _levels(read: Any, high: float | None) -> dict[str, Option]:
    return {
        "high": Option(read, high),
        "low": Option(read),
        "delta": Option(read),
        "rate_hz": Option(number(0.01, 200), 10),
    }


@dataclass(frozen=True, slots=True)
class InputKind:
    """A row of the table. `risen` and `fallen` are what a measured value fires."""

    pins: tuple[str, ...]
    events: tuple[str, ...]
    options: Mapping[str, Option]
    risen: str = ""
    fallen: str = ""

    @property
    def is_measured(self) -> bool:
        return bool(self.risen)


KINDS: Mapping[str, InputKind] = {
    "button": InputKind(
        ("pin",),
        ("pressed", "released", "held"),
        {
            "pull_up": Option(flag, default=True),
            "bounce_ms": _BOUNCE,
            "hold_ms": Option(number(1, 3_600_000)),
            "hold_repeat": Option(flag, default=False),
        },
    ),
    "digital": InputKind(
        ("pin",),
        ("active", "inactive"),
        {
            "pull_up": Option(flag),
            "active_high": Option(flag),
            "bounce_ms": _BOUNCE,
        },
    ),
    "motion": InputKind(("pin",), ("motion", "no_motion"), _SMOOTH),
    "line": InputKind(
        ("pin",),
        ("line", "no_line"),
        {**_SMOOTH, "queue_len": Option(whole(1, 1000), 5)},
    ),
    "light": InputKind(
        ("pin",),
        ("light", "dark", "changed"),
        {
            **_levels(_UNIT, 0.1),
            "charge_ms": Option(number(1, 1000), 10),
            "queue_len": Option(whole(1, 1000), 5),
        },
        risen="light",
        fallen="dark",
    ),
    "distance": InputKind(
        ("echo", "trigger"),
        ("out_of_range", "in_range", "changed"),
        {
            **_levels(_METRES, 0.3),
            "max_m": Option(number(0.01, 20), 1),
            "queue_len": Option(whole(1, 1000), 9),
        },
        risen="out_of_range",
        fallen="in_range",
    ),
    "rotary": InputKind(
        ("a", "b"),
        ("clockwise", "counter_clockwise"),
        {
            "bounce_ms": _BOUNCE,
            "max_steps": Option(whole(0, 1_000_000), 0),
            "wrap": Option(flag, default=False),
        },
    ),
    "adc": InputKind(
        (),
        ("above", "below", "changed"),
        {
            **_levels(_UNIT, None),
            "chip": Option(one_of(*CHIPS), "MCP3008"),
            "channel": Option(whole(0, 7), 0),
            "select": Option(whole(0, 1), 0),
            "port": Option(whole(0, 1), 0),
        },
        risen="above",
        fallen="below",
    ),
}


@dataclass(frozen=True, slots=True)
class InputConfig:
    """A checked device to watch or to read. `options` has every one of its kind."""

    device: str
    pins: dict[str, int]
    events: frozenset[str]
    options: dict[str, Any]

    @property
    def kind(self) -> InputKind:
        return KINDS[self.device]

    @property
    def place(self) -> str:
        """What it holds besides pins: a channel of an ADC."""
        if self.device != "adc":
            return ""
        options = self.options
        return f"SPI {options['port']}.{options['select']} channel {options['channel']}"


def parse_input(given: Parameters) -> InputConfig:
    """Read the parameters of the feed.

    Raises:
        BuiltinError: naming what is wrong.
    """
    device = one_of(*KINDS)("device", given.get("device", "button"))
    kind = KINDS[device]
    options = read_options(given, kind.options, besides=(*COMMON, *kind.pins))
    _check_levels(kind, options)
    if device == "digital":
        _check_pull(options)
    config = InputConfig(
        device=device,
        pins=read_pins(given, kind.pins),
        events=_events(kind, given.get("events"), options),
        options=options,
    )
    if options.get("chip") in SINGLE_CHANNEL and options["channel"]:
        raise ConfigError("channel", f"{options['chip']} has channel 0 only")
    return config


def _check_levels(kind: InputKind, options: Parameters) -> None:
    if not kind.is_measured:
        return
    high, low, delta = options["high"], options["low"], options["delta"]
    if high is None and delta is None:
        raise ConfigError("high", "is missing; say high, delta or both")
    if low is not None and (high is None or low > high):
        raise ConfigError("low", "must not be above high")


def _check_pull(options: dict[str, Any]) -> None:
    """A pulled pin says itself which level is active, any other has to be told."""
    if options["pull_up"] is None:
        options["active_high"] = options["active_high"] is not False
    elif options["active_high"] is not None:
        raise ConfigError("active_high", "is given by pull_up; say one of the two")


def _events(kind: InputKind, given: Any, options: Parameters) -> frozenset[str]:
    needs = {"held": "hold_ms", "changed": "delta"}
    possible = [
        event
        for event in kind.events
        if event not in needs or options[needs[event]] is not None
    ]
    if given is None:
        return frozenset(possible)
    asked = [given] if isinstance(given, str) else given
    if not isinstance(asked, list) or not asked:
        raise ConfigError("events", f"expected some of {', '.join(possible)}")
    for event in asked:
        if event not in kind.events:
            problem = f"expected some of {', '.join(kind.events)}; got {event!r}"
            raise ConfigError("events", problem)
        if event not in possible:
            raise ConfigError("events", f"{event} needs {needs[event]}")
    return frozenset(asked)
