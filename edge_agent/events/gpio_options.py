"""Reading the parameters of GPIO devices: numbers, flags, pins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import ConfigError

#: The header of every Pi since the 1B+; ADCs sit on SPI and have channels instead.
HIGHEST_PIN = 27

Read = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Option:
    """A parameter: how it is read, and what it is when left out."""

    read: Read
    default: Any = None


def number(least: float, most: float) -> Read:
    def read(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(key, f"expected a number, got {value!r}")
        if not least <= value <= most:
            problem = f"expected {least:g} to {most:g}, got {value:g}"
            raise ConfigError(key, problem)
        return value

    return read


def whole(least: int, most: int) -> Read:
    ranged = number(least, most)

    def read(key: str, value: Any) -> int:
        if ranged(key, value) != int(value):
            raise ConfigError(key, f"expected a whole number, got {value!r}")
        return int(value)

    return read


def flag(key: str, value: Any) -> bool:
    if type(value) is not bool:
        raise ConfigError(key, f"expected true or false, got {value!r}")
    return value


def one_of(*choices: str) -> Read:
    def read(key: str, value: Any) -> str:
        if value not in choices:
            known = ", ".join(choices)
            raise ConfigError(key, f"expected one of {known}; got {value!r}")
        return str(value)

    return read


def pin(key: str, value: Any) -> int:
    """17, "17" or "GPIO17": the number that Broadcom, not the header, gives it."""
    text = str(value).strip().upper().removeprefix("GPIO")
    if isinstance(value, bool) or not text.isdecimal() or int(text) > HIGHEST_PIN:
        problem = f"expected GPIO0 to GPIO{HIGHEST_PIN}, got {value!r}"
        raise ConfigError(key, problem)
    return int(text)


def read_options(
    given: Mapping[str, Any], options: Mapping[str, Option], *, besides: Iterable[str]
) -> dict[str, Any]:
    """The values of `options`; what is null counts as left out.

    Raises:
        ConfigError: a value cannot be, or a key is neither an option nor `besides`.
    """
    known = (*besides, *options)
    for key in given:
        if key not in known:
            raise ConfigError(key, f"is not known here; known are {', '.join(known)}")
    return {
        key: option.default if given.get(key) is None else option.read(key, given[key])
        for key, option in options.items()
    }


def read_pins(given: Mapping[str, Any], keys: Iterable[str]) -> dict[str, int]:
    """The pins of a device by what they are for, all different.

    Raises:
        ConfigError: one is missing, impossible or there twice.
    """
    pins: dict[str, int] = {}
    for key in keys:
        if given.get(key) is None:
            raise ConfigError(key, "is missing; expected a pin such as 17 or GPIO17")
        found = pin(key, given[key])
        if found in pins.values():
            raise ConfigError(key, f"GPIO{found} is given twice")
        pins[key] = found
    return pins
