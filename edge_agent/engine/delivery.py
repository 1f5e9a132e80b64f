"""Delivery: the inbox's dispatcher. What was accepted runs, whatever happens.

Accepted work is on disk before it gets here. The dispatcher keeps a window of it in
memory and at most `2 x slots` of it in the pool's queue, in the order of acceptance; a
longer backlog stays on disk and is read in pieces, so memory does not grow with it.

Rows that start as soon as there is room are in `Ready`, those that wait for their next
run in `Delays`, those behind another one of their line in `Lines`. A row that is ready,
in `Delays` or under way *holds* its line.

`_loaded` is the place of the last row that is, or was, in memory, `_newest` that of the
last one committed; `_behind` is true when rows between them exist only on disk. All
reading is done by one task at a time. What ends while it reads may still be in what it
finds, and is kept in `_gone` so long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import msgspec

from edge_agent.engine.delays import MOST as DELAYS_MOST
from edge_agent.engine.delays import Delays
from edge_agent.engine.lines import Lines
from edge_agent.engine.ready import Ready
from edge_agent.model.errors import Unavailable
from edge_agent.store.inbox import Inbox, InboxRow

WINDOW_ROWS = 512
WINDOW_BYTES = 4 << 20
#: How many rows whose wait is over are read at a time, and how many of a line.
DUE_ROWS = 128
LINE_ROWS = 64
LINE_BYTES = 1 << 20
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Again(msgspec.Struct, frozen=True):
    """The row is to be run again, no sooner than `after_ms` from now."""

    after_ms: int


Ended = Again | None


class Runner(Protocol):
    """Runs one accepted row to its end."""

    def start(self, row: InboxRow) -> asyncio.Future[Ended] | Ended:
        """Start a row's run; the future is done when the run has ended.

        Its value, or what is returned without a run (the action is gone, or the row
        too old), is None when the row is in the store no more.

        Raises:
            Unavailable: no room now.
        """
        ...


class Delivery:
    """Owns the order of accepted work and which of it is under way."""

    def __init__(
        self,
        inbox: Inbox,
        runner: Runner,
        *,
        most: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self._inbox = inbox
        self._runner = runner
        self._most = most
        self._wall_ms = wall_ms
        self._ready = Ready()
        self._delays = Delays()
        self._lines = Lines()
        self._under_way: set[int] = set()
        self._adopted: set[int] = set()
        self._loaded = 0
        self._newest = inbox.last_seq
        self._behind = inbox.depth > 0
        self._begun = not self._behind
        self._loading: asyncio.Task[None] | None = None
        self._fetching: frozenset[int] = frozenset()
        self._held_back: set[int] = set()
        self._gone: set[int] = set()
        self._readers = 0
        self._later: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._stopped = False

    def health(self) -> dict[str, int]:
        """For `/edge/v1/node`; `delayed` is what is in memory of it."""
        return {
            "under_way": len(self._under_way) + len(self._adopted),
            "ready": len(self._ready),
            "delayed": len(self._delays),
            "lines": len(self._lines),
        }

    def runs(self, seq: int) -> bool:
        return seq in self._under_way or seq in self._adopted

    def take(self, rows: Sequence[InboxRow]) -> None:
        """Rows that were committed just now, in order of acceptance."""
        self._newest = rows[-1].seq
        full = (
            self._behind
            or len(self._ready.fresh) >= WINDOW_ROWS
            or self._ready.bytes >= WINDOW_BYTES
        )
        if full:
            self._behind = True
        else:
            self._append(rows)
        self.pump()

    def pump(self) -> None:
        """Start what there is room for; called whenever there may be room."""
        most = self._most()
        while len(self._under_way) < most and not self._stopped:
            row = self._ready.take()
            if row is None:
                break
            if not self._start(row):
                self._ready.put_back(row)
                self._pump_later()
                return
        if most <= 0:
            self._pump_later()
        elif self._loading is None and not self._stopped and self._wants_rows():
            self._loading = asyncio.create_task(self._load(), name="delivery.load")

    async def stop(self) -> None:
        """Start nothing more. What is not done stays in the inbox."""
        self._stopped = True
        for timer in (self._later, self._due):
            if timer is not None:
                timer.cancel()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    def adopt(self, seq: int) -> None:
        """A row that is run by someone else already (a blocking call that expired)."""
        self._adopted.add(seq)

    def release(self, seq: int) -> None:
        """The adopted row has ended."""
        self._adopted.discard(seq)
        self._note_end(seq)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While somebody reads a row in order to `drop` it."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    def drop(self, row: InboxRow) -> bool:
        """Forget a row; False when it runs, or is over.

        The caller ends it at once, then calls `pump`: its line may go on.
        """
        if self._is_old(row.seq):
            return False
        held = row.seq in self._delays or row.seq in self._fetching
        self._delays.discard(row.seq)
        held |= self._ready.remove(row.seq)
        self._note_end(row.seq)
        if not self._lines.remove(row) and held:
            self._over(row)
        return True

    # -- starting and ending -----------------------------------------------------

    def _start(self, row: InboxRow) -> bool:
        try:
            running = self._runner.start(row)
        except Unavailable:
            return False
        if not isinstance(running, asyncio.Future):
            self._ready.ended(row)
            self._settle(row, running)
            return True
        self._under_way.add(row.seq)
        running.add_done_callback(partial(self._ended, row))
        return True

    def _ended(self, row: InboxRow, running: asyncio.Future[Ended]) -> None:
        self._under_way.discard(row.seq)
        self._ready.ended(row)
        self._settle(row, running.result())
        self.pump()

    def _settle(self, row: InboxRow, ended: Ended) -> None:
        if ended is None:
            self._over(row)
            return
        due = _now() + ended.after_ms / 1000
        self._delays.add(row.seq, due, must=row.accepted.line is not None)
        self._set_alarm()

    def _over(self, row: InboxRow) -> None:
        """The row is no more: its line goes on."""
        self._note_end(row.seq)
        following = self._lines.leave(row)
        if following is not None:
            self._ready.add(following, first=True)

    def _note_end(self, seq: int) -> None:
        """Who is reading may still find it."""
        if self._loading is not None or self._readers:
            self._gone.add(seq)

    def _append(self, rows: Iterable[InboxRow]) -> None:
        for row in rows:
            if row.seq <= self._loaded:  # it was read between its commit and `take`
                continue
            self._loaded = row.seq
            # One with attempts is in `_delays`, unless it may not go first.
            known = bool(row.attempts or row.due_ms) and row.seq not in self._held_back
            if not known and not self._is_old(row.seq) and self._lines.enter(row):
                self._ready.add(row)

    def _is_old(self, seq: int) -> bool:
        """It is under way, or has ended since it was read."""
        return seq in self._gone or self.runs(seq)

    def _pump_later(self) -> None:
        if self._later is None and not self._stopped:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(RETRY_S, self._pump_again)

    def _pump_again(self) -> None:
        self._later = None
        self.pump()

    def _set_alarm(self) -> None:
        """Come back when the next wait is over."""
        due = self._delays.next_due
        if due is None or self._stopped:
            return
        if self._due is not None:
            if self._due.when() <= due:
                return
            self._due.cancel()
        self._due = asyncio.get_running_loop().call_at(due, self._is_due)

    def _is_due(self) -> None:
        self._due = None
        self.pump()
        self._set_alarm()

    # -- reading -----------------------------------------------------------------

    def _wants_rows(self) -> bool:
        due = self._delays.next_due
        return (
            not self._begun
            or bool(self._lines.wanted)
            or self._delays.wants_more
            or (due is not None and due <= _now() and len(self._ready.again) < DUE_ROWS)
            or (self._behind and len(self._ready.fresh) < WINDOW_ROWS // 2)
        )

    async def _load(self) -> None:
        try:
            # What has ended until now is then in no answer any more; what ends from
            # now on is noted in `_gone`.
            ended = set() if self._readers else set(self._gone)
            await self._inbox.flush()
            self._gone -= ended
            await self._load_delays()
            await self._load_due()
            for name, after in list(self._lines.wanted.items()):
                await self._load_line(name, after)
            if self._behind and len(self._ready.fresh) < WINDOW_ROWS // 2:
                await self._load_next()
        except Exception:  # the disk is ill: the rows are safe, try again
            log.exception("delivery: the inbox could not be read")
            self._pump_later()
            return
        finally:
            self._loading = None
        self.pump()
        self._set_alarm()

    async def _load_delays(self) -> None:
        """What waits for its next run: once at the start, later when there is room."""
        if self._begun and not self._delays.wants_more:
            return
        found = await self._inbox.load_due(
            DELAYS_MOST, now_ms=self._wall_ms(), lines=not self._begun
        )
        now = _now()
        others = 0
        self._delays.behind = False
        for due in found:
            others += due.line is None
            if not due.first:
                self._held_back.add(due.seq)
            elif not self._ready.has_run(due.seq) and not self._is_old(due.seq):
                self._lines.hold(due.line)
                after_s = due.after_ms / 1000
                self._delays.add(due.seq, now + after_s, must=due.line is not None)
        self._delays.behind |= others == DELAYS_MOST
        self._begun = True

    async def _load_due(self) -> None:
        """Those whose wait is over."""
        seqs = self._delays.take(_now(), most=DUE_ROWS - len(self._ready.again))
        if not seqs:
            return
        self._fetching = frozenset(seqs)
        unread = set(seqs)
        try:
            rows = await self._inbox.load_rows(seqs, size_bytes=WINDOW_BYTES)
            # None: they are there no more. Some: the others were too much for once.
            unread = unread.difference(row.seq for row in rows) if rows else set()
        finally:
            self._fetching = frozenset()
            for seq in unread - self._gone:
                self._delays.add(seq, _now(), must=True)
        for row in rows:
            if not self._is_old(row.seq):
                self._ready.add_again(row)

    async def _load_line(self, name: str, after: int) -> None:
        """The next rows of a line of which only the disk knows."""
        rows = await self._inbox.load_line(
            name,
            after=after,
            upto=self._lines.passed(name),
            rows=1 if self._lines.full else LINE_ROWS,
            size_bytes=LINE_BYTES,
        )
        upto = rows[-1].seq if rows else self._lines.passed(name)
        new = [row for row in rows if not self._is_old(row.seq)]
        first = self._lines.found(name, new, upto=upto)
        if first is not None:
            self._ready.add(first, first=True)

    async def _load_next(self) -> None:
        """The next piece of the backlog."""
        newest = self._newest
        rows = await self._inbox.load_after(
            self._loaded, rows=WINDOW_ROWS, size_bytes=WINDOW_BYTES
        )
        self._append(rows)
        if not rows:  # what is left there waits for its next run, or has ended
            self._loaded = max(self._loaded, newest)
        self._behind = self._loaded < self._newest


def _now() -> float:
    return asyncio.get_running_loop().time()
