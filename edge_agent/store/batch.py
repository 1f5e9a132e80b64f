"""Work for one transaction, and the statements that do it.

Pages are what a transaction costs: each that it touches is written as a whole, to the
log and then to the file. So a table grows at its end only; a row that goes again at
once is not written at all; and what is deleted is deleted first, for its pages are then
filled again and not written once as rubbish.

Rows of one table go in few multi-row statements, because the sqlite3 module gives up
the interpreter lock at every statement, and a busy event loop is slow to give it back.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: The most rows of one statement: 8 columns * 128 stays far below SQLite's limit.
CHUNK_ROWS = 128
#: Where rows are larger than this on average each is a statement of its own.
LARGE_ROW_BYTES = 8192

Row = tuple[object, ...]
Statement = tuple[str, Row]
#: Columns of the tables that take rows in bulk, by the first of which they are deleted.
#: A record's place is given by SQLite: the next.
COLUMNS = {
    "activation": ("id", "namespace", "name", "bound", "start", "result_in", "doc"),
    "inbox": ("seq", "doc", "line"),
    "attempt": ("seq", "due_ms", "doc"),
    "dead_letter": ("seq", "id", "namespace", "doc"),
    "seen": ("key", "until_ms"),
    "outbox": ("id", "doc"),
}


class Keeper(Protocol):
    """Whoever bounds the records; called in the transaction."""

    def make_room(self, connection: sqlite3.Connection, sizes: Sequence[int]) -> bool:
        """Delete old records for new ones of these sizes, which come next.

        False when that is not enough: ask again once they are there.
        """
        ...

    def rolled_back(self) -> None:
        """What was done since the last commit was undone."""
        ...


@dataclass(slots=True)
class Batch:
    """Work for one transaction. What is inserted and deleted in it is not kept."""

    statements: list[Statement] = field(default_factory=list)
    inserts: dict[str, list[Row]] = field(default_factory=dict)
    deletions: dict[str, list[object]] = field(default_factory=dict)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    committed: list[Callable[[], None]] = field(default_factory=list)
    urgent: bool = False
    patient: bool = True
    size_bytes: int = 0

    @property
    def empty(self) -> bool:
        return not (self.statements or self.inserts or self.deletions or self.waiting)

    def insert(self, table: str, rows: Iterable[Row], size_bytes: int) -> None:
        self.inserts.setdefault(table, []).extend(rows)
        self.size_bytes += size_bytes

    def delete(self, table: str, key: object) -> None:
        self.deletions.setdefault(table, []).append(key)


def together(urgent: Batch, lazy: Batch) -> Batch:
    """What one transaction does for the two."""
    both = Batch()
    merge(both, urgent)
    merge(both, lazy)
    for table, rows in both.inserts.items():
        if gone := set(both.deletions.get(table, ())):
            both.inserts[table] = [row for row in rows if row[0] not in gone]
    return both


def apply(connection: sqlite3.Connection, batch: Batch, keeper: Keeper | None) -> None:
    """Carry out the batch."""
    execute = connection.execute
    for sql, row in batch.statements:
        execute(sql, row)
    for table, keys in batch.deletions.items():
        for chunk in _chunks(keys):
            execute(_delete_sql(table, len(chunk)), chunk)
    records = batch.inserts.get("activation", ())
    sizes = [len(row[-1]) for row in records]  # type: ignore[arg-type]
    enough = keeper is None or not records or keeper.make_room(connection, sizes)
    for table, rows in batch.inserts.items():
        for chunk in _chunks(rows, width=_width(batch.size_bytes, len(rows))):
            flat = [value for row in chunk for value in row]
            execute(_insert_sql(table, len(chunk)), flat)
    if keeper is not None and not enough:
        keeper.make_room(connection, ())


def merge(older: Batch, newer: Batch) -> None:
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


def size_of(row: Row) -> int:
    return sum(len(value) for value in row if isinstance(value, (bytes, str)))
