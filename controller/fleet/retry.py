"""When a request is sent again, and when not.

Again: when the host answered 429 or 503 (nothing was accepted), when no connection
could be made (nothing was sent), and when the connection broke in between *and* doing
it twice is the same as doing it once. A POST whose answer was lost may have been
accepted, so it is never repeated here; `OpenWhiskError.maybe_done` tells the caller.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

BUSY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` in all; waits double from `first_s` up to `most_s`, then jitter."""

    attempts: int = 5
    first_s: float = 0.1
    most_s: float = 2.0

    def wait_s(
        self,
        attempt: int,
        *,
        asked_s: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> float | None:
        """The pause after attempt number `attempt` (from 1); None: give up.

        `asked_s` is the host's own wish (`Retry-After`), followed up to `most_s`.
        """
        if attempt >= self.attempts:
            return None
        if asked_s is not None:
            return min(asked_s, self.most_s)
        ceiling: float = min(self.first_s * 2.0 ** (attempt - 1), self.most_s)
        return ceiling * (0.5 + chance() / 2)


NO_RETRY = Retry(attempts=1)


def may_repeat(status: int, *, maybe_done: bool, idempotent: bool) -> bool:
    """`status` is what was answered, 0 when nothing was."""
    if status:
        return status in BUSY
    return idempotent or not maybe_done
