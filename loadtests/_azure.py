"""What functions of a public cloud look like: lengths, durations, rates.

From the published traces of Azure Functions as ServerlessBench's test case 11 uses
them: chains have one step in 50 %, two in 22 % and at most about five in 90 % of all
applications; a run takes 670 ms in the median and 16.6 s at the 90th percentile; a
function is called 74 times a day in the median and 4,504 times at the 90th percentile;
it takes 140 MB in the median and 210 MB at the 90th percentile. Between the points the
logarithm is taken to be normal.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

DAY_S = 86_400.0
#: Share of applications with at most so many steps.
CHAIN_LENGTHS = ((0.50, 1), (0.72, 2), (0.80, 3), (0.86, 4), (0.90, 5), (1.0, 8))
RUN_MS = (670.0, 16_600.0)
CALLS_A_DAY = (74.0, 4504.0)
MEMORY_MB = (140.0, 210.0)
MEMORIES_MB = (128, 256, 512)
_NORMAL_P90 = 1.2815515655446004


@dataclass(frozen=True)
class Function:
    """One application: a chain of equal steps."""

    steps: int
    run_ms: float
    calls_a_day: float
    memory_mb: int


def draw(chance: random.Random) -> Function:
    share = chance.random()
    memory = _lognormal(MEMORY_MB, chance)
    return Function(
        steps=next(steps for most, steps in CHAIN_LENGTHS if share <= most),
        run_ms=_lognormal(RUN_MS, chance),
        calls_a_day=_lognormal(CALLS_A_DAY, chance),
        memory_mb=next((mb for mb in MEMORIES_MB if mb >= memory), MEMORIES_MB[-1]),
    )


def _lognormal(points: tuple[float, float], chance: random.Random) -> float:
    """Of the distribution with this median and 90th percentile."""
    median, p90 = points
    sigma = math.log(p90 / median) / _NORMAL_P90
    return median * math.exp(sigma * chance.gauss(0.0, 1.0))
