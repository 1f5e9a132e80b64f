"""Rows that wait for their next run: when each is due, and nothing else of them.

The rows stay on disk. In memory there are at most `MOST` pairs of time and place; what
is due later than those is left to the disk, and read when there is room again.
"""

from __future__ import annotations

import heapq

MOST = 10_000


class Delays:
    """A heap of due times in seconds of the caller's clock."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._heap: list[tuple[float, int]] = []
        self._held: set[int] = set()
        #: Some that are due later are known on disk only.
        self.behind = False

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, seq: int) -> bool:
        return seq in self._held

    @property
    def next_due(self) -> float | None:
        self._skip_discarded()
        return self._heap[0][0] if self._heap else None

    @property
    def wants_more(self) -> bool:
        """There is room again for what was left to the disk."""
        return self.behind and len(self._held) <= self._most // 2

    def add(self, seq: int, due: float, *, must: bool = False) -> None:
        """Remember a row, or leave it to the disk when there are too many.

        `must`: it holds up its line, whose rows know nothing of a disk.
        """
        if seq in self._held:
            return
        if len(self._held) >= self._most and not must:
            self.behind = True
            return
        self._held.add(seq)
        heapq.heappush(self._heap, (due, seq))

    def take(self, now: float, *, most: int) -> list[int]:
        """Remove what is due, the earliest first."""
        taken: list[int] = []
        while len(taken) < most and (due := self.next_due) is not None and due <= now:
            _, seq = heapq.heappop(self._heap)
            self._held.discard(seq)
            taken.append(seq)
        return taken

    def discard(self, seq: int) -> None:
        self._held.discard(seq)

    def _skip_discarded(self) -> None:
        while self._heap and self._heap[0][1] not in self._held:
            heapq.heappop(self._heap)
