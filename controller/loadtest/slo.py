"""A service level: `p99<100ms,errors<0.1%`. Pure.

level      = condition *("," condition)
condition  = ("p50" | "p90" | "p99" | "p99.9" | "max") "<" number ("ms" | "s")
           | "errors" "<" number "%"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controller.loadtest.errors import BadLoadtest
from controller.loadtest.summary import Summary

DEFAULT = "p99<100ms,errors<0.1%"
_TIME = re.compile(r"(p50|p90|p99|p99\.9|max)\s*<=?\s*([0-9.]+)\s*(ms|s)")
_ERRORS = re.compile(r"errors\s*<=?\s*([0-9.]+)\s*%")
_FIELDS = {"p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms", "p99.9": "p99_9_ms"}


class BadLevel(BadLoadtest):
    def __init__(self, text: str, part: str) -> None:
        super().__init__(
            f"service level '{text}': '{part}' is not of the form p99<100ms or "
            "errors<0.1% (p50, p90, p99, p99.9, max; ms or s)"
        )


@dataclass(frozen=True)
class Condition:
    """`what` stays below `limit`: ms, or a share of all calls."""

    what: str
    limit: float

    def broken_by(self, summary: Summary) -> str | None:
        """What is wrong, in words; None when it holds."""
        value = self._value(summary)
        if value < self.limit:
            return None
        if self.what == "errors":
            return f"errors {value:.2%}"
        return f"{self.what} {value:.1f} ms"

    def _value(self, summary: Summary) -> float:
        if self.what == "errors":
            return summary.failures / max(summary.requests, 1)
        if self.what == "max":
            return summary.max_ms
        return summary.latency[_FIELDS[self.what]].value


@dataclass(frozen=True)
class Level:
    text: str
    conditions: tuple[Condition, ...]

    def broken_by(self, summary: Summary) -> str | None:
        broken = (each.broken_by(summary) for each in self.conditions)
        return ", ".join(filter(None, broken)) or None


def parse_level(text: str) -> Level:
    """Read a service level.

    Raises:
        BadLevel: it is none; the text names the part.
    """
    return Level(text, tuple(_condition(text, part) for part in text.split(",")))


def _condition(text: str, part: str) -> Condition:
    given = part.strip()
    if found := _TIME.fullmatch(given):
        what, number, unit = found.groups()
        return Condition(what, _number(text, part, number) * (1000, 1)[unit == "ms"])
    if found := _ERRORS.fullmatch(given):
        return Condition("errors", _number(text, part, found[1]) / 100)
    raise BadLevel(text, given)


def _number(text: str, part: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        raise BadLevel(text, part.strip()) from None
    if value <= 0:
        raise BadLevel(text, part.strip())
    return value
