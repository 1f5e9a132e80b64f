"""The one writer: a thread that commits batches, two kinds of them.

Theory. Work for the disk gathers in a `Batch` on the event loop. When the thread is
free and the batch is due, the batch is handed over as a whole and becomes one
transaction; what comes meanwhile gathers in the next batch. This is group commit: the
longer an fsync takes, the more acceptances share it.

- *Urgent* work (an acceptance) makes its batch due at once and waits for the fsync
  (`synchronous=FULL`).
- *Lazy* work (records, deletions) makes its batch due after `lazy_s` and needs no fsync
  of its own (`NORMAL`): a later urgent commit makes it durable.

Rows of one table go in few multi-row statements, because the sqlite3 module gives up
the interpreter lock at every statement, and a busy event loop is slow to give it back.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from edge_agent.model.errors import Unavailable

RETRY_S = 1.0
CLOSE_TIMEOUT_S = 10.0
#: The most rows of one statement: 8 columns * 128 stays far below SQLite's limit.
CHUNK_ROWS = 128
#: Where rows are larger than this on average each is a statement of its own.
LARGE_ROW_BYTES = 8192

log = logging.getLogger(__name__)

Row = tuple[object, ...]
Statement = tuple[str, Row]
#: Columns of the tables that take rows in bulk, and the key they are deleted by.
COLUMNS = {
    "activation": (
        *("seq", "id", "namespace", "name", "bound", "start", "result_in", "doc"),
    ),
    "inbox": ("seq", "doc", "line"),
    "attempt": ("seq", "due_ms", "doc"),
    "dead_letter": ("seq", "id", "namespace", "doc"),
    "seen": ("key", "until_ms"),
    "outbox": ("id", "doc"),
}


@dataclass(slots=True)
class Batch:
    """Work for one transaction: statements in order, then inserts, then deletions."""

    statements: list[Statement] = field(default_factory=list)
    inserts: dict[str, list[Row]] = field(default_factory=dict)
    deletions: dict[str, list[object]] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    committed: list[Callable[[], None]] = field(default_factory=list)
    urgent: bool = False
    size_bytes: int = 0

    @property
    def empty(self) -> bool:
        return not (self.statements or self.inserts or self.deletions or self.waiting)

    def insert(self, table: str, rows: Iterable[Row], size_bytes: int) -> None:
        self.inserts.setdefault(table, []).extend(rows)
        self.size_bytes += size_bytes

    def delete(self, table: str, key: object) -> None:
        self.deletions.setdefault(table, []).append(key)


class Writer:
    """Owns the writing connection. All methods are called on the event loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        lazy_s: float,
        trim: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._connection = connection
        self._lazy_s = lazy_s
        self._trim = trim
        self._urgent = Batch()
        self._lazy = Batch()
        self._in_flight: tuple[Batch, Batch] | None = None
        self._queue: queue.SimpleQueue[tuple[Batch, Batch] | None] = queue.SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._wake: asyncio.Handle | None = None
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
                self._hand_over()
            future: asyncio.Future[None] = self._loop.create_future()
            self._for_room.append(future)
            await future

    def urgent(self) -> tuple[Batch, asyncio.Future[None]]:
        """The batch to add to, and the future that is done when it is on disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        batch = self._urgent
        batch.waiting.append(future)
        if self._wake is None and self._in_flight is None:
            # Not at once: whatever else this turn of the loop accepts goes along.
            self._wake = self._loop.call_soon(self._hand_over)
        return batch, future

    def lazy(self) -> Batch:
        """The batch to add finished work to; written within `lazy_s`."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._lazy_s, self._lazy_due)
        return self._lazy

    def execute(self, *statements: Statement) -> asyncio.Future[None]:
        """Run statements in an urgent transaction."""
        batch, future = self.urgent()
        batch.statements.extend(statements)
        batch.size_bytes += sum(_size(row) for _, row in statements)
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
            try:
                await asyncio.wait_for(future, CLOSE_TIMEOUT_S)
            except (TimeoutError, Unavailable):
                log.exception("store: the last batch could not be written")
        for handle in (self._timer, self._wake):
            if handle is not None:
                handle.cancel()
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join, CLOSE_TIMEOUT_S)

    # -- on the loop ------------------------------------------------------------

    def _lazy_due(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight is None:
            self._hand_over()
        else:
            self._lazy.urgent = True

    def _hand_over(self) -> None:
        self._wake = None
        if self._in_flight is not None or (self._urgent.empty and self._lazy.empty):
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._in_flight = (self._urgent, self._lazy)
        self._urgent, self._lazy = Batch(), Batch()
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
        if not self._urgent.empty or self._lazy.urgent:
            self._hand_over()
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
        _merge(lazy, self._lazy)
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
            for batch in (urgent, lazy):
                self._apply(batch)
            if self._trim is not None:
                self._trim(self._connection)
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            return error
        return None

    def _apply(self, batch: Batch) -> None:
        execute = self._connection.execute
        for sql, row in batch.statements:
            execute(sql, row)
        for table, rows in batch.inserts.items():
            for chunk in _chunks(rows, width=_width(batch.size_bytes, len(rows))):
                flat = [value for row in chunk for value in row]
                execute(_insert_sql(table, len(chunk)), flat)
        for table, keys in batch.deletions.items():
            for chunk in _chunks(keys):
                execute(_delete_sql(table, len(chunk)), chunk)


def _nothing(_: float) -> None:
    pass


def _merge(older: Batch, newer: Batch) -> None:
    older.statements.extend(newer.statements)
    for table, rows in newer.inserts.items():
        older.inserts.setdefault(table, []).extend(rows)
    for table, keys in newer.deletions.items():
        older.deletions.setdefault(table, []).extend(keys)
    older.waiting.extend(newer.waiting)
    older.committed.extend(newer.committed)
    older.size_bytes += newer.size_bytes
    older.urgent = False


def _width(size_bytes: int, rows: int) -> int:
    """How many rows go together: a prepared statement keeps what it was last given."""
    return CHUNK_ROWS if size_bytes <= rows * LARGE_ROW_BYTES else 1


def _chunks(items: list[Any], *, width: int = CHUNK_ROWS) -> Iterable[list[Any]]:
    """Cut into runs of 128, 64, 32 ... 1: few distinct statements to keep prepared."""
    start = 0
    while start < len(items):
        while width > len(items) - start:
            width //= 2
        yield items[start : start + width]
        start += width


def _insert_sql(table: str, rows: int) -> str:
    columns = COLUMNS[table]
    marks = f"({','.join('?' * len(columns))})"
    return (
        f"INSERT OR REPLACE INTO {table} ({','.join(columns)}) "  # noqa: S608 our names
        f"VALUES {','.join([marks] * rows)}"
    )


def _delete_sql(table: str, rows: int) -> str:
    key = COLUMNS[table][0]
    return f"DELETE FROM {table} WHERE {key} IN ({','.join('?' * rows)})"  # noqa: S608


def _size(row: Row) -> int:
    return sum(len(value) for value in row if isinstance(value, (bytes, str)))
