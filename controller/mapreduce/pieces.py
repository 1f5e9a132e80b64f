"""What of a run has not been handed out yet.

A run has units, numbered from 0: chunks of a job, inputs, calls of a program. They are
cut off from the front, one or several at once; what was cut is never cut again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

#: The first unit, and how many.
Piece = tuple[int, int]


class Pieces:
    """Hands out every unit once. `done`: pieces that need no work any more."""

    def __init__(self, units: int, *, done: Iterable[Piece] = ()) -> None:
        self._end = units
        #: What is left: from the first to before the second, in order.
        self._gaps: deque[Piece] = deque()
        self.left = units
        at = 0
        for first, count in sorted(done):
            if first > at:
                self._gaps.append((at, first))
            at = first + count
            self.left -= count
        if at < units:
            self._gaps.append((at, units))

    @property
    def next(self) -> int | None:
        """The unit that is cut next."""
        return self._gaps[0][0] if self._gaps else None

    def cut(self, count: int) -> Piece | None:
        """At most `count` units, all in a row; None when there are none."""
        if not self._gaps:
            return None
        first, end = self._gaps.popleft()
        count = min(count, end - first)
        if first + count < end:
            self._gaps.appendleft((first + count, end))
        self.left -= count
        return first, count

    def extend(self, count: int) -> None:
        """So many units more."""
        first = self._end
        self._end += count
        self.left += count
        self._gaps.append((first, self._end))
