"""How long to wait before trying again: doubling, capped, with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Owns the number of failures in a row."""

    __slots__ = ("_failures", "_first_s", "_jitter", "_most_s")

    def __init__(
        self,
        first_s: float,
        most_s: float,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._jitter = jitter
        self._failures = 0

    def next_s(self) -> float:
        """The next wait: half to all of the doubled one, so that many spread out."""
        wait_s = min(self._first_s * 2.0 ** min(self._failures, 32), self._most_s)
        self._failures += 1
        return wait_s * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        self._failures = 0
