"""Rows that must not overtake each other: one of each line is on its way at a time.

The row that holds a line may be running or waiting for its next run; either way the
others of that line, and only they, wait behind it. A few of them are kept in memory,
the rest are passed over and found on disk when their turn comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.store.inbox import InboxRow

WAITING_ROWS = 512
WAITING_BYTES = 2 << 20


@dataclass(slots=True)
class Line:
    """A line that is held. `passed` is the last row left on disk, 0 when none is."""

    waiting: deque[InboxRow] = field(default_factory=deque)
    passed: int = 0


class Lines:
    """Owns the lines that are held now; `wanted` are those to be read from disk.

    The value of `wanted` is the row behind which to begin.
    """

    def __init__(self) -> None:
        self._held: dict[str, Line] = {}
        self._rows = 0
        self._bytes = 0
        self.wanted: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """No more rows are kept in memory."""
        return self._rows >= WAITING_ROWS or self._bytes >= WAITING_BYTES

    def hold(self, name: str | None) -> None:
        """A row of this line is on its way already (it waits for its next run)."""
        if name is not None:
            self._held.setdefault(name, Line())

    def enter(self, row: InboxRow) -> bool:
        """Whether the row may start; if not, it waits for its turn."""
        name = row.accepted.line
        if name is None:
            return True
        line = self._held.get(name)
        if line is None:
            self._held[name] = Line()
            return True
        if line.passed or self.full:
            line.passed = row.seq
        else:
            line.waiting.append(row)
            self._count(row, 1)
        return False

    def leave(self, row: InboxRow) -> InboxRow | None:
        """The row has ended: the next one of its line, which holds it now.

        None when there is none, or when it must be read from disk first (`wanted`).
        """
        name = row.accepted.line
        if name is None:
            return None
        line = self._held[name]
        if line.waiting:
            following = line.waiting.popleft()
            self._count(following, -1)
            return following
        if line.passed:
            self.wanted[name] = row.seq
        else:
            del self._held[name]
        return None

    def passed(self, name: str) -> int:
        """The last row of the line that is on disk only."""
        return self._held[name].passed

    def found(
        self, name: str, rows: Sequence[InboxRow], *, upto: int
    ) -> InboxRow | None:
        """Rows of a wanted line, read as far as `upto`: the first one may start."""
        del self.wanted[name]
        line = self._held[name]
        if line.passed <= upto:
            line.passed = 0
        if not rows:
            if not line.passed:
                del self._held[name]
            else:
                self.wanted[name] = upto
            return None
        first, *others = rows
        line.waiting.extend(others)
        for row in others:
            self._count(row, 1)
        return first

    def remove(self, row: InboxRow) -> bool:
        """Take a waiting row out; False when it does not wait here."""
        line = self._held.get(row.accepted.line or "")
        kept = deque(r for r in line.waiting if r.seq != row.seq) if line else None
        if line is None or kept is None or len(kept) == len(line.waiting):
            return False
        line.waiting = kept
        self._count(row, -1)
        return True

    def _count(self, row: InboxRow, sign: int) -> None:
        self._rows += sign
        self._bytes += sign * row.size_bytes
