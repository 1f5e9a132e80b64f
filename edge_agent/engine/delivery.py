"""Delivery: the inbox's dispatcher. What was accepted runs, whatever happens.

Accepted work is on disk before it gets here. The dispatcher keeps a window of it in
memory and at most `2 x slots` of it in the pool's queue, in the order of acceptance; a
longer backlog stays on disk and is read in pieces, so memory does not grow with it.

State: `_ready` holds rows in order; `_loaded` is the place of the last row that is, or
was, in memory; `_behind` is true when rows after `_loaded` exist only on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.model.errors import Unavailable
from edge_agent.store.inbox import Inbox, InboxRow

WINDOW_ROWS = 512
WINDOW_BYTES = 4 << 20
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Runner(Protocol):
    """Runs one accepted row to its end."""

    def start(self, row: InboxRow) -> asyncio.Future[None] | None:
        """Start a row's run; the future is done when its record is in the store.

        None when the row ended without running (its action is gone).

        Raises:
            Unavailable: no room now.
        """
        ...


class Delivery:
    """Owns the order of accepted work and which of it is under way."""

    def __init__(
        self, inbox: Inbox, runner: Runner, *, most: Callable[[], int]
    ) -> None:
        self._inbox = inbox
        self._runner = runner
        self._most = most
        self._ready: deque[InboxRow] = deque()
        self._ready_bytes = 0
        self._loaded = 0
        self._left_out: set[int] = set()
        self._behind = inbox.depth > 0
        self._under_way = 0
        self._loading: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def under_way(self) -> int:
        return self._under_way

    def take(self, rows: Sequence[InboxRow]) -> None:
        """Rows that were committed just now, in order of acceptance."""
        full = (
            self._behind
            or len(self._ready) >= WINDOW_ROWS
            or self._ready_bytes >= WINDOW_BYTES
        )
        if full:
            self._behind = True
        else:
            self._append(rows)
        self.pump()

    def pump(self) -> None:
        """Start what there is room for; called whenever there may be room."""
        while self._ready and self._under_way < self._most() and not self._stopped:
            row = self._ready.popleft()
            self._ready_bytes -= row.size_bytes
            if not self._start(row):
                return
        few = len(self._ready) < WINDOW_ROWS // 2
        if self._behind and few and self._loading is None and not self._stopped:
            self._loading = asyncio.create_task(self._load(), name="delivery.load")

    async def stop(self) -> None:
        """Start nothing more. What is not done stays in the inbox."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)

    def leave_out(self, seq: int) -> None:
        """A row that is run by someone else already (a blocking call that expired)."""
        self._left_out.add(seq)

    def _append(self, rows: Sequence[InboxRow]) -> None:
        for row in rows:
            self._loaded = row.seq
            if row.seq not in self._left_out:
                self._ready.append(row)
                self._ready_bytes += row.size_bytes
        if self._left_out:
            # Behind `_loaded` a row is never read again: no need to remember it.
            self._left_out = {seq for seq in self._left_out if seq > self._loaded}

    def _start(self, row: InboxRow) -> bool:
        try:
            done = self._runner.start(row)
        except Unavailable:
            self._ready.appendleft(row)
            self._ready_bytes += row.size_bytes
            self._pump_later()
            return False
        if done is not None:
            self._under_way += 1
            done.add_done_callback(self._ended)
        return True

    def _ended(self, _: asyncio.Future[None]) -> None:
        self._under_way -= 1
        self.pump()

    def _pump_later(self) -> None:
        if self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(RETRY_S, self._pump_again)

    def _pump_again(self) -> None:
        self._retry = None
        self.pump()

    async def _load(self) -> None:
        try:
            rows = await self._inbox.load_after(
                self._loaded, rows=WINDOW_ROWS, size_bytes=WINDOW_BYTES
            )
        except Exception:  # the disk is ill: the rows are safe, try again
            log.exception("delivery: the inbox could not be read")
            self._pump_later()
            return
        finally:
            self._loading = None
        self._append(rows)
        # Rows not committed yet are behind too; `take` will tell when they are.
        self._behind = self._loaded < self._inbox.last_seq
        if rows:
            self.pump()
