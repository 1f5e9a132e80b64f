"""Percentiles and what may be said about them. Pure.

A percentile of one run says little: whatever disturbed that run is in it. So a figure
is made of repetitions, and its interval is that of a bootstrap over them: the range of
the median of repetitions drawn with replacement (Efron's percentile method).
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
RESAMPLES = 2000
_SEED = 20261121  # the same figures give the same interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; all three are the same where there is one value."""

    value: float
    low: float
    high: float

    def apart_from(self, other: Estimate) -> bool:
        """Whether the intervals do not touch."""
        return self.high < other.low or other.high < self.low

    def document(self) -> dict[str, float]:
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in ascending order, at least one; between two it is linear.

    The definition that numpy and scipy have by default (Hyndman and Fan's type 7).
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def bootstrap(
    values: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """The median of the repetitions' values, and its interval."""
    middle = statistics.median(values)
    if len(values) == 1:
        return Estimate(middle, middle, middle)
    chance = random.Random(_SEED)  # noqa: S311  (draws, not secrets)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values)))
        for _ in range(resamples)
    )
    tail = (1 - confidence) / 2
    return Estimate(middle, percentile(medians, tail), percentile(medians, 1 - tail))


def binomial_interval(
    failures: int, total: int, *, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Wilson's interval of a share: sound for few failures, and for none."""
    if not total:
        return 0.0, 1.0
    share, square = failures / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    spread = share * (1 - share) + square / 4
    half = z * math.sqrt(spread / total) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
