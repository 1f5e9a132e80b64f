"""How many chunks a node is worth giving at once: found out by trying; pure.

A node has slots for the memory it has, not for its cores: a dozen for four cores is
common. Work that waits uses them all; work that computes only gets in its own way,
fills the memory, and leaves nothing to hand out by speed. So a node begins with
`PER_CORE` for each core, and gets twice as many as long as that makes it faster by
`GAIN`; the last doubling that did not is taken back. Of each round as many chunks as go
at once are not measured: they were cold, or began before.
"""

from __future__ import annotations

from dataclasses import dataclass

PER_CORE = 2
GAIN = 1.25


@dataclass(slots=True)
class Width:
    """`now` chunks at once, of at most `slots`. Without `cores`: all of them."""

    slots: int
    cores: int | None = None
    now: int = 0
    settled: bool = False
    _before: int = 0
    _best: float = 0.0
    _seen: int = 0
    _units: int = 0
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        begin = self.slots if self.cores is None else PER_CORE * self.cores
        self.now = self._before = min(self.slots, begin)

    def learn(self, count: int, seconds: float) -> bool:
        """A chunk of `count` units has ended; True when `now` is another number."""
        if self.settled or (self.now == self.slots == self._before):
            return False
        self._seen += 1
        if self._seen > self.now:
            self._units += count
            self._seconds += seconds
        if self._seen < 2 * self.now:
            return False
        units_per_s = self.now * self._units / max(self._seconds, 1e-6)
        self._seen = self._units = 0
        self._seconds = 0.0
        return self._turn(units_per_s)

    def _turn(self, units_per_s: float) -> bool:
        if units_per_s < GAIN * self._best:
            self.now, self.settled = self._before, True
            return True
        self._before, self._best = self.now, units_per_s
        self.settled = self.now == self.slots
        self.now = min(self.slots, 2 * self.now)
        return not self.settled
