"""The one writer: a thread that commits batches, two kinds of them.

Theory. Work for the disk gathers in a `Batch` on the event loop. When the thread is
free and the batch is due, the batch is handed over as a whole and becomes one
transaction; what comes meanwhile gathers in the next batch. This is group commit: the
longer an fsync takes, the more acceptances share it.

- *Urgent* work (an acceptance) makes its batch due at once and waits for the fsync
  (`synchronous=FULL`).
- *Lazy* work (records, deletions) makes its batch due after `lazy_s`, or when it is
  large, and needs no fsync of its own (`NORMAL`): a later urgent commit makes it
  durable. It waits so long though urgent work goes: much of it is undone by then (a
  message that was sent is acknowledged), and the rest fills pages.

A batch that fails is rolled back. Its urgent callers get `Unavailable`; its lazy work
stays and is tried again, for what is done must not be forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable

from edge_agent.model.errors import Unavailable
from edge_agent.store.batch import (
    Batch,
    Keeper,
    Statement,
    apply,
    merge,
    size_of,
    together,
)

RETRY_S = 1.0
CLOSE_TIMEOUT_S = 10.0
#: After a transaction of so many acceptances others that are patient wait until so long
#: after its start: in a burst each transaction then fills the pages that it touches,
#: and half as much is written. One message at a time waits for nothing.
CROWD, SPACING_S = 8, 0.01
#: Lazy work of this size is due.
LARGE_BYTES = 4 << 20

log = logging.getLogger(__name__)


class Writer:
    """Owns the writing connection. All methods are called on the event loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        lazy_s: float,
        keeper: Keeper | None = None,
    ) -> None:
        self._connection = connection
        self._lazy_s = lazy_s
        self._keeper = keeper
        self._urgent = Batch()
        self._lazy = Batch()
        self._in_flight: tuple[Batch, Batch] | None = None
        self._queue: queue.SimpleQueue[tuple[Batch, Batch] | None] = queue.SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Handle | None = None
        self._not_before = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="store-writer")
        self._closing: asyncio.Future[None] | None = None
        self._for_room: list[asyncio.Future[None]] = []
        self.failure: str | None = None
        self.commits = 0
        #: Told how many seconds each transaction took; the loop calls it.
        self.on_commit: Callable[[float], None] = _nothing

    def start(self) -> None:
        self._thread.start()

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for a commit, those under way included."""
        waiting = self._urgent.size_bytes + self._lazy.size_bytes
        if self._in_flight is None:
            return waiting
        urgent, lazy = self._in_flight
        return waiting + urgent.size_bytes + lazy.size_bytes

    async def room(self, most_bytes: int) -> None:
        """Return when no more than `most_bytes` wait for a commit.

        Raises:
            Unavailable: the disk does not take them.
        """
        while self.pending_bytes > most_bytes:
            if self.failure is not None:
                raise Unavailable(f"store: {self.failure}")
            if self._in_flight is None:
                self._hand_over(lazy=True)
            future: asyncio.Future[None] = self._loop.create_future()
            self._for_room.append(future)
            await future

    def urgent(self, *, patient: bool = False) -> tuple[Batch, asyncio.Future[None]]:
        """The batch to add to, and the future that is done when it is on disk.

        A `patient` acceptance holds nobody up: in a crowd of them it may wait for more.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        batch = self._urgent
        batch.waiting.append(future)
        if batch.patient and not patient:
            batch.patient = False
            self._stop_waiting()
        if self._wake is None and self._in_flight is None:
            self._hand_over_soon()
        return batch, future

    def lazy(self) -> Batch:
        """The batch to add finished work to; written within `lazy_s`."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._lazy_s, self._lazy_due)
        if self._lazy.size_bytes > LARGE_BYTES and self._may_hurry():
            self._lazy.urgent = True
            # Not at once: what belongs together is added in one turn of the loop.
            self._loop.call_soon(self._lazy_due)
        return self._lazy

    def execute(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements in an urgent transaction."""
        batch, future = self.urgent()
        batch.statements.extend(statements)
        batch.size_bytes += sum(size_of(row) for _, row in statements)
        return future

    async def flush(self) -> None:
        """Return when all that was lazy until now can be read (not: is on disk)."""
        if self._lazy.empty and self._in_flight is None:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._lazy.waiting.append(future)
        self._lazy_due()
        await future

    async def close(self) -> None:
        """Write what waits, then end the thread; the connection is the caller's."""
        if not self._thread.is_alive():
            return
        if not (self._lazy.empty and self._urgent.empty and self._in_flight is None):
            _, future = self.urgent()
            self._lazy_due()
            try:
                await asyncio.wait_for(future, CLOSE_TIMEOUT_S)
            except (TimeoutError, Unavailable):
                log.exception("store: the last batch could not be written")
        self._stop_waiting()
        if self._timer is not None:
            self._timer.cancel()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join, CLOSE_TIMEOUT_S)

    # -- on the loop ------------------------------------------------------------

    def _lazy_due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lazy.urgent = True
        if self._in_flight is None:
            self._hand_over(lazy=True)

    def _may_hurry(self) -> bool:
        return not self._lazy.urgent and self.failure is None

    def _hand_over_soon(self) -> None:
        if self._urgent.patient and self._loop.time() < self._not_before:
            self._wake = self._loop.call_at(self._not_before, self._hand_over)
        else:
            # Not at once: whatever else this turn of the loop accepts goes along.
            self._wake = self._loop.call_soon(self._hand_over)

    def _stop_waiting(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def _hand_over(self, *, lazy: bool = False) -> None:
        self._stop_waiting()
        work = Batch()
        if self._in_flight is not None:
            return
        if lazy:
            work, self._lazy = self._lazy, work
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self._urgent.empty and work.empty:
            return
        crowded = len(self._urgent.waiting) >= CROWD
        self._not_before = self._loop.time() + SPACING_S if crowded else 0.0
        self._in_flight = (self._urgent, work)
        self._urgent = Batch()
        self._queue.put(self._in_flight)

    def _done(self, error: sqlite3.Error | None, took_s: float) -> None:
        self.on_commit(took_s)
        flown = self._in_flight
        if flown is None:
            return
        self._in_flight = None
        urgent, lazy = flown
        if error is None:
            self._committed(urgent, lazy)
        else:
            self._failed(urgent, lazy, error)
        if self._lazy.urgent:
            self._hand_over(lazy=True)
        elif not self._urgent.empty:
            self._hand_over_soon()
        waiting, self._for_room = self._for_room, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _committed(self, *batches: Batch) -> None:
        self.failure = None
        self.commits += 1
        for batch in batches:
            for callback in batch.committed:
                callback()
            for future in batch.waiting:
                if not future.done():
                    future.set_result(None)

    def _failed(self, urgent: Batch, lazy: Batch, error: sqlite3.Error) -> None:
        self.failure = str(error)
        log.error("store: commit failed: %s", error)
        for future in (*urgent.waiting, *lazy.waiting):
            if not future.done():
                future.set_exception(Unavailable(f"store: {error}"))
        lazy.waiting.clear()
        merge(lazy, self._lazy)
        self._lazy = lazy
        if self._timer is None:
            self._timer = self._loop.call_later(RETRY_S, self._lazy_due)

    # -- on the thread ----------------------------------------------------------

    def _work(self) -> None:
        while (flight := self._queue.get()) is not None:
            began_s = time.perf_counter()
            error = self._commit(*flight)
            took_s = time.perf_counter() - began_s
            try:
                self._loop.call_soon_threadsafe(self._done, error, took_s)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _commit(self, urgent: Batch, lazy: Batch) -> sqlite3.Error | None:
        execute = self._connection.execute
        level = "NORMAL" if urgent.empty else "FULL"
        try:
            execute(f"PRAGMA synchronous={level}")
            execute("BEGIN IMMEDIATE")
            apply(self._connection, together(urgent, lazy), self._keeper)
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            if self._keeper is not None:
                self._keeper.rolled_back()
            return error
        return None


def _nothing(_: float) -> None:
    pass
