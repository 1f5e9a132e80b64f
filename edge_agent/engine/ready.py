"""Rows that start as soon as there is room, in three lists.

- `fresh`: never run. In the order of acceptance.
- `again`: their wait after a failed run is over. The two lists take turns.
- `suspects`: the agent has died while they ran. One of these at a time, before all
  others: when the agent dies again, the guilty one is told from the innocent.
"""

from __future__ import annotations

from collections import deque

from edge_agent.store.inbox import InboxRow


class Ready:
    """Owns the lists. `bytes` are those of fresh rows."""

    def __init__(self) -> None:
        self.fresh: deque[InboxRow] = deque()
        self.again: deque[InboxRow] = deque()
        self.suspects: deque[InboxRow] = deque()
        self.bytes = 0
        self._suspect: int | None = None
        self._turn = False

    def __len__(self) -> int:
        return len(self.fresh) + len(self.again) + len(self.suspects)

    def add(self, row: InboxRow, *, first: bool = False) -> None:
        """A row whose turn in its line has come; `first`: before other fresh ones."""
        if row.deaths:
            self.suspects.append(row)
            return
        self.bytes += row.size_bytes
        if first:
            self.fresh.appendleft(row)
        else:
            self.fresh.append(row)

    def add_again(self, row: InboxRow) -> None:
        """A row whose wait is over."""
        (self.suspects if row.deaths else self.again).append(row)

    def take(self) -> InboxRow | None:
        """Remove the next one to start; tell when it has `ended`."""
        rows = self._next()
        if not rows:
            return None
        row = rows.popleft()
        if rows is self.fresh:
            self.bytes -= row.size_bytes
        elif rows is self.suspects:
            self._suspect = row.seq
        self._turn = not self._turn
        return row

    def put_back(self, row: InboxRow) -> None:
        """There was no room for it."""
        self.ended(row)
        if row.deaths:
            self.suspects.appendleft(row)
        elif row.attempts:
            self.again.appendleft(row)
        else:
            self.add(row, first=True)

    def ended(self, row: InboxRow) -> None:
        """Its run, if there was one, has ended."""
        if self._suspect == row.seq:
            self._suspect = None

    def remove(self, seq: int) -> bool:
        """Take a row out; False when it is not here."""
        for rows in (self.fresh, self.again, self.suspects):
            for row in rows:
                if row.seq == seq:
                    rows.remove(row)
                    self.bytes -= row.size_bytes if rows is self.fresh else 0
                    return True
        return False

    def has_run(self, seq: int) -> bool:
        """Whether it is here and was run before."""
        return any(row.seq == seq for row in (*self.again, *self.suspects))

    def _next(self) -> deque[InboxRow]:
        if self.suspects and self._suspect is None:
            return self.suspects
        if self.again and (self._turn or not self.fresh):
            return self.again
        return self.fresh
