"""When the calls of an open loop are due.

A closed loop asks again when it has been answered, so a host that stalls is asked less
and its stall hardly shows ("coordinated omission"). Here calls come when they come.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

ARRIVALS = ("constant", "poisson")


def due_times(
    rate_per_s: float, arrivals: str, *, seed: int | None = None
) -> Iterator[float]:
    """Seconds from the start at which calls are due, without end.

    Args:
        rate_per_s: calls per second, above 0.
        arrivals: `constant` keeps the same pause, `poisson` has exponential ones.
        seed: of the pauses, for the same ones again.
    """
    if arrivals == "poisson":
        yield from _poisson(rate_per_s, random.Random(seed))
    count = 0
    while True:
        yield count / rate_per_s
        count += 1


def _poisson(rate_per_s: float, chance: random.Random) -> Iterator[float]:
    due = 0.0
    while True:
        due += chance.expovariate(rate_per_s)
        yield due
