"""The search for a limit: the highest load that keeps a service level. Pure.

First a ramp, which multiplies the load until the level breaks; then the gap between
the highest load that held and the lowest that did not is halved until it is narrow
enough. A load near the limit holds one time and breaks the next, so each that breaks
is tried once more, and only breaks if it does so again. What is left is the knee: the
highest load that held, and the interval up to the lowest that did not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: The search is over when the gap is narrower than this share.
PRECISION = 0.05
TRIES = 2
#: The most steps of one search; a ramp by two from 1 to a million has twenty.
MOST_STEPS = 40

Probe = Callable[[float], str | None]
"""Tries a load: None when the level held, else what broke it."""


@dataclass(frozen=True)
class Knee:
    """`value` held and `high` did not; `high` is None when nothing broke the level.

    `low` is the highest load below which everything held at the first try.
    """

    value: float
    low: float
    high: float | None
    reason: str | None
    steps: int

    def document(self) -> dict[str, float | str | None]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "broken_by": self.reason,
        }


@dataclass(frozen=True)
class Range:
    """Where to look: loads from `first` to `last`, in whole numbers where `whole`."""

    first: float
    last: float
    factor: float = 2.0
    whole: bool = False
    precision: float = PRECISION

    def rounded(self, load: float) -> float:
        return float(round(load)) if self.whole else load

    def between(self, low: float, high: float) -> float | None:
        """A load in the middle, by ratio; None when the gap is narrow enough."""
        middle = self.rounded(math.sqrt(low * high))
        narrow = high / low <= 1 + self.precision
        return None if narrow or not low < middle < high else middle


class Search:
    """One search; `run` ends with the knee."""

    def __init__(self, probe: Probe, where: Range) -> None:
        self._probe = probe
        self._where = where
        self._steps = 0
        self._shaky = math.inf
        self._reason: str | None = None

    def run(self) -> Knee:
        held, broke = self._ramp()
        while held and broke and self._steps < MOST_STEPS:
            middle = self._where.between(held, broke)
            if middle is None:
                break
            if self._holds(middle):
                held = middle
            else:
                broke = middle
        low = min(held, self._shaky)
        return Knee(held, low, broke, self._reason if broke else None, self._steps)

    def _ramp(self) -> tuple[float, float | None]:
        held, load = 0.0, self._where.first
        while self._holds(load):
            held = load
            if load >= self._where.last:
                return held, None
            load = min(self._where.rounded(load * self._where.factor), self._where.last)
        return held, load

    def _holds(self, load: float) -> bool:
        for _ in range(TRIES):
            self._steps += 1
            reason = self._probe(load)
            if reason is None:
                return True
            self._reason = reason
            self._shaky = min(self._shaky, load)
        return False
