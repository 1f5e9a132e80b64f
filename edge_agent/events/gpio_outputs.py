"""What `/whisk.system/gpio/write` can set: devices, values, patterns. Pure.

    device        pins                              value
    digital, led  pin                               true, false, "toggle"
    buzzer        pin                               the same
    pwmled        pin                               0 to 1, "toggle"
    rgbled        red, green, blue                  [r, g, b] of 0 to 1, or "#ff8800"
    tonalbuzzer   pin                               "A4", hertz, or null for silence
    servo         pin                               -1 to 1, or null to let go
    motor         forward, backward[, enable]       -1 to 1

`pattern` is `blink` (`on_ms`, `off_ms`; with PWM also `fade_in_ms`, `fade_out_ms`) or
`pulse` (`fade_in_ms`, `fade_out_ms`), `count` times or for ever. The device stays open
with what it was set to, until `close`, another write or the end of the agent. All of
it but the value may come in one object, `output`: then the action can be a rule's, and
the value the event's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import ConfigError
from edge_agent.events.gpio_options import (
    Option,
    Read,
    flag,
    number,
    one_of,
    read_options,
    read_pins,
    whole,
)

BLINK, PULSE, TOGGLE = "blink", "pulse", "toggle"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NOTE = re.compile(r"[A-G][#b]?[0-9]")
_TIME = number(0, 3_600_000)


def _switch(key: str, value: Any) -> bool | str:
    if value == TOGGLE:
        return TOGGLE
    return bool(value) if value in (0, 1) else flag(key, value)


def _level(key: str, value: Any) -> float | str:
    if value == TOGGLE:
        return TOGGLE
    return float(value if isinstance(value, bool) else number(0, 1)(key, value))


def _colour(key: str, value: Any) -> tuple[float, ...]:
    if isinstance(value, str) and _COLOUR.fullmatch(value):
        return tuple(part / 255 for part in bytes.fromhex(value[1:]))
    if not isinstance(value, list) or len(value) != 3:  # noqa: PLR2004 red green blue
        raise ConfigError(key, f'expected [r, g, b] or "#rrggbb", got {value!r}')
    return tuple(number(0, 1)(key, part) for part in value)


def _tone(key: str, value: Any) -> str | float:
    if isinstance(value, str) and _NOTE.fullmatch(value):
        return value
    if isinstance(value, str):
        problem = f"expected a note such as A4, or hertz; got {value!r}"
        raise ConfigError(key, problem)
    return float(number(20, 20_000)(key, value))


_SIGNED = number(-1, 1)


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A row of the table. `optional` pins may be left out, `off` is for null."""

    value: Read
    pins: tuple[str, ...] = ("pin",)
    optional: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    fades: bool = False
    nullable: bool = False


KINDS: Mapping[str, OutputKind] = {
    "digital": OutputKind(_switch, patterns=(BLINK,)),
    "led": OutputKind(_switch, patterns=(BLINK,)),
    "buzzer": OutputKind(_switch, patterns=(BLINK,)),
    "pwmled": OutputKind(_level, patterns=(BLINK, PULSE), fades=True),
    "rgbled": OutputKind(
        _colour, ("red", "green", "blue"), patterns=(BLINK, PULSE), fades=True
    ),
    "tonalbuzzer": OutputKind(_tone, nullable=True),
    "servo": OutputKind(_SIGNED, nullable=True),
    "motor": OutputKind(_SIGNED, ("forward", "backward"), optional=("enable",)),
}
#: Of a pattern, in gpiozero's words and seconds.
_TIMES = {
    "on_ms": "on_time",
    "off_ms": "off_time",
    "fade_in_ms": "fade_in_time",
    "fade_out_ms": "fade_out_time",
}


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """A checked write. `times` are keyword arguments of gpiozero, in seconds."""

    device: str
    pins: dict[str, int]
    value: Any
    pattern: str | None
    times: dict[str, float]
    count: int | None
    active_high: bool


def parse_output(given: Mapping[str, Any]) -> OutputConfig:
    """Read the parameters of the action.

    Raises:
        BuiltinError: naming what is wrong.
    """
    device = one_of(*KINDS)("device", given.get("device", "led"))
    kind = KINDS[device]
    pins = (*kind.pins, *(key for key in kind.optional if given.get(key) is not None))
    options = read_options(given, _options(kind), besides=("device", "value", *pins))
    return OutputConfig(
        device=device,
        pins=read_pins(given, pins),
        value=_value(kind, given, options["pattern"]),
        pattern=options["pattern"],
        times=_times(options),
        count=options["count"],
        active_high=options["active_high"],
    )


def _options(kind: OutputKind) -> dict[str, Option]:
    options = {
        "pattern": Option(one_of(*kind.patterns, "none")),
        "count": Option(whole(1, 1_000_000)),
        "active_high": Option(flag, default=True),
    }
    names = list(_TIMES) if kind.fades else ["on_ms", "off_ms"]
    return options | {name: Option(_TIME) for name in names if kind.patterns}


def _value(kind: OutputKind, given: Mapping[str, Any], pattern: str | None) -> Any:
    if given.get("value") is not None:
        return kind.value("value", given["value"])
    if pattern is None and not kind.nullable:
        raise ConfigError("value", "is missing; say value or pattern")
    return None


def _times(options: Mapping[str, Any]) -> dict[str, float]:
    asked = {name: options.get(name) for name in _TIMES}
    if options["pattern"] is None:
        for name, value in asked.items():
            if value is not None:
                raise ConfigError(name, "belongs to a pattern; say pattern too")
    if options["pattern"] == PULSE:
        for name in ("on_ms", "off_ms"):
            if asked[name] is not None:
                raise ConfigError(name, "is not part of pulse")
    return {_TIMES[k]: v / 1000 for k, v in asked.items() if v is not None}
