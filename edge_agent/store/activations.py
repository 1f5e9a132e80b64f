"""Activation records: written lazily, bounded, readable from the first moment.

A record that is not committed yet is served from memory; a listing commits first (a
commit without fsync), so that it is one query.

The last component of a sequence has the sequence's own result. When that is large it is
written once: the component's row names the sequence's, in which it is to be found. Both
are written together, and the component's, being older, is never the one that stays.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from edge_agent.model.activations import ActivationRecord
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.batch import Batch, Row
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Writer

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(ActivationRecord)
_SELECT = (
    "SELECT a.doc, r.doc FROM activation a "
    "LEFT JOIN activation r ON r.id = a.result_in WHERE "
)
_ELSEWHERE = Raw(b"null")
#: A smaller result is written wherever it is.
LARGE_RESULT_BYTES = 16 << 10
AGE_CHECK_S = 60.0
#: The part of what may be kept that goes at once: a hundredth.
SLACK = 100


class Retention:
    """Deletes the oldest records; the writer's `Keeper`."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._count = 0
        self._bytes = 0
        self._known = False
        self._age_checked = 0.0

    def load(self, connection: sqlite3.Connection) -> None:
        self._count, self._bytes = connection.execute(
            "SELECT count(*), coalesce(sum(length(doc)), 0) FROM activation"
        ).fetchone()
        self._known = True

    def make_room(self, connection: sqlite3.Connection, sizes: Sequence[int]) -> bool:
        if not self._known:
            self.load(connection)
        self._count += len(sizes)
        self._bytes += sum(sizes)
        return self._trim(connection)

    def rolled_back(self) -> None:
        self._known = False

    def _trim(self, connection: sqlite3.Connection) -> bool:
        limit = self._settings
        oldest_ms = self._oldest_ms()
        surplus = self._count - limit.records
        surplus_bytes = self._bytes - limit.records_bytes
        if surplus <= 0 and surplus_bytes <= 0 and oldest_ms is None:
            return True
        # A little more at once: the pages at the old end are then written once, and
        # not with every commit.
        if surplus > 0 or surplus_bytes > 0:
            surplus += limit.records // SLACK
            surplus_bytes += limit.records_bytes // SLACK if surplus_bytes > 0 else 0
        last = 0
        for seq, size, start in connection.execute(
            "SELECT seq, length(doc), start FROM activation ORDER BY seq"
        ):
            young = oldest_ms is None or start >= oldest_ms
            if surplus <= 0 and surplus_bytes <= 0 and young:
                break
            last, surplus, surplus_bytes = seq, surplus - 1, surplus_bytes - size
            self._count -= 1
            self._bytes -= size
        if last:
            connection.execute("DELETE FROM activation WHERE seq <= ?", (last,))
        return self._count <= limit.records and self._bytes <= limit.records_bytes

    def _oldest_ms(self) -> int | None:
        """Now and then: the start before which records are too old."""
        if time.monotonic() - self._age_checked < AGE_CHECK_S:
            return None
        self._age_checked = time.monotonic()
        return int((time.time() - self._settings.records_age_s) * 1000)


class ActivationStore:
    """Owns the records; `add` never waits."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        #: Not committed yet, as it will be written: a result may be a megabyte.
        self._pending: dict[str, Row] = {}

    def add(
        self,
        record: ActivationRecord,
        *,
        within: str | None = None,
        result_in: str | None = None,
    ) -> Batch:
        """Keep `record`; returns the batch, to which the caller may add what belongs.

        Args:
            record: the finished activation.
            within: `pkg/name` of a packaged action, for the name filter (B34).
            result_in: the activation with the same result that is added right after.
        """
        batch = self._writer.lazy()
        self.add_to(batch, record, within=within, result_in=result_in)
        return batch

    def add_to(
        self,
        batch: Batch,
        record: ActivationRecord,
        *,
        within: str | None = None,
        result_in: str | None = None,
    ) -> None:
        """Put the record into a batch of the caller's, e.g. that of an acceptance."""
        row = self._row(record, within or record.name, result_in)
        batch.insert("activation", (row,), len(row[-1]))  # type: ignore[arg-type]
        self._pending[record.activation_id] = row
        if len(batch.committed) == 0:
            # The rows, not the batch: a circle would keep megabytes for the collector.
            batch.committed.append(partial(self._settle, batch.inserts["activation"]))

    async def get(self, namespace: str, activation_id: str) -> ActivationRecord | None:
        row = self._pending.get(activation_id)
        if row is not None:
            other = row if row[-2] is None else self._pending.get(str(row[-2]))
            if other is None:  # not yet: it is still being accepted
                return None
            record = _record(row[-1], None if other is row else other[-1])
            return record if record.namespace == namespace else None
        rows = await self._reader.rows(
            f"{_SELECT} a.id=? AND a.namespace=?", (activation_id, namespace)
        )
        return _record(*rows[0]) if rows else None

    async def list(
        self,
        namespace: str,
        *,
        name: str | None = None,
        since: int | None = None,
        upto: int | None = None,
        skip: int = 0,
        limit: int = 30,
    ) -> list[ActivationRecord]:
        """Newest first; `since` and `upto` in epoch ms, both inclusive (A45)."""
        where, parameters = _where(namespace, name, since, upto)
        await self._writer.flush()
        rows = await self._reader.rows(
            f"{_SELECT} {where} ORDER BY a.start DESC, a.seq DESC LIMIT ? OFFSET ?",
            (*parameters, limit, skip),
        )
        return [_record(*row) for row in rows]

    async def count(
        self,
        namespace: str,
        *,
        name: str | None = None,
        since: int | None = None,
        upto: int | None = None,
    ) -> int:
        where, parameters = _where(namespace, name, since, upto)
        await self._writer.flush()
        rows = await self._reader.rows(
            f"SELECT count(*) FROM activation a WHERE {where}",  # noqa: S608
            parameters,
        )
        return int(rows[0][0])  # type: ignore[call-overload, no-any-return]

    def _row(self, record: ActivationRecord, within: str, result_in: str | None) -> Row:
        if result_in is not None:
            if len(memoryview(record.response.result)) < LARGE_RESULT_BYTES:
                result_in = None
            else:
                elsewhere = replace(record.response, result=_ELSEWHERE)
                record = replace(record, response=elsewhere)
        return (
            record.activation_id,
            record.namespace,
            within,
            _bound(record) if "/" in within else None,
            record.start,
            result_in,
            _encode(record),
        )

    def _settle(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._pending.pop(row[0], None)  # type: ignore[call-overload]


def _record(doc: Any, other: Any) -> ActivationRecord:
    """The record; `other` is that of the activation in which its result is."""
    record = _decoder.decode(doc)
    if other is None:
        return record
    result = _decoder.decode(other).response.result
    return replace(record, response=replace(record.response, result=result))


def _bound(record: ActivationRecord) -> str | None:
    """`binding/name` of an action that was invoked through a binding (B34)."""
    binding = record.annotation("binding")
    return f"{binding.partition('/')[2]}/{record.name}" if binding else None


def _where(
    namespace: str, name: str | None, since: int | None, upto: int | None
) -> tuple[str, tuple[object, ...]]:
    wanted = {
        "a.namespace=?": namespace,
        "? IN (a.name, a.bound)": name,
        "a.start>=?": since,
        "a.start<=?": upto,
    }
    given = {clause: value for clause, value in wanted.items() if value is not None}
    return " AND ".join(given), tuple(given.values())
