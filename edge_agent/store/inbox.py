"""The inbox: accepted work that has no record yet.

A row is written before its acceptance is told to anyone, and deleted in the same
transaction that writes its activation record. What its runs left behind (`Attempt`) is
in a row of its own, which goes with it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.delivery import Attempt, RetryPolicy
from edge_agent.model.errors import Unavailable
from edge_agent.model.feeds import Reply
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.activations import ActivationStore
from edge_agent.store.batch import Batch, Row
from edge_agent.store.dedup import Dedup, Key
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Writer


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One accepted activation, all that is needed to run it after a restart.

    `action` is `ns/[pkg/]name` as it was invoked; `version` and `arguments` are fixed
    at acceptance. `result_topic` is the annotation of the rule that asked for it. Rows
    of one `line` run one after the other; `replay_of` is the activation id of the dead
    letter that this is a repetition of. `reply`: where an answer is waited for.
    """

    activation_id: str
    namespace: str
    action: str
    version: str
    arguments: Raw
    accepted_ms: int
    transaction_id: str
    rule: str | None = None
    result_topic: Any = None
    retry: RetryPolicy | None = None
    line: str | None = None
    ttl_ms: int | None = None
    replay_of: str | None = None
    reply: Reply | None = None


class InboxRow(msgspec.Struct, frozen=True):
    """An accepted activation, its place in the order of acceptance, and its past."""

    seq: int
    size_bytes: int
    accepted: Accepted
    attempts: tuple[Attempt, ...] = ()
    due_ms: int = 0

    @property
    def deaths(self) -> int:
        """How often the agent died while it ran."""
        return sum(bool(attempt.life) for attempt in self.attempts)


class Due(msgspec.Struct, frozen=True):
    """A row that waits for its next run, and for how long yet.

    One that is not the first of its line began before a crash, which then brought back
    an older one whose end had not been committed.
    """

    seq: int
    after_ms: int
    line: str | None
    first: bool


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Accepted)
_attempts = msgspec.json.Decoder(tuple[Attempt, ...])

_SELECT = (
    "SELECT i.seq, i.doc, a.doc, a.due_ms "
    "FROM inbox i LEFT JOIN attempt a ON a.seq = i.seq WHERE "
)


class Inbox:
    """Owns the rows. `depth` and `size_bytes` count what is accepted and not done.

    `by_namespace` counts the same, but for what an earlier life of the agent left: to
    know whose that is, all of it would have to be read.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        activations: ActivationStore,
        dedup: Dedup,
        settings: StoreSettings,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._activations = activations
        self._dedup = dedup
        self._settings = settings
        self._seq = 0
        self._earlier = 0
        self.depth = 0
        self.size_bytes = 0
        self.by_namespace: Counter[str] = Counter()

    def load(self, connection: sqlite3.Connection) -> None:
        self._seq, self.depth, self.size_bytes = connection.execute(
            "SELECT coalesce(max(seq), 0), count(*), coalesce(sum(length(doc)), 0) "
            "FROM inbox"
        ).fetchone()
        self._earlier = self._seq

    @property
    def last_seq(self) -> int:
        """The newest row's place; rows of a later acceptance have greater ones."""
        return self._seq

    @property
    def choked(self) -> bool:
        """The disk does not keep up: whatever ends now would pile up in memory."""
        writer = self._writer
        return (
            writer.failure is not None
            or writer.pending_bytes > self._settings.pending_bytes
        )

    def accept(
        self,
        accepted: Sequence[Accepted],
        *,
        fired: ActivationRecord | None = None,
        key: Key | None = None,
        replayed: int | None = None,
        patient: bool = False,
    ) -> tuple[list[InboxRow], asyncio.Future[None]]:
        """Write rows, and what belongs to them, in one transaction.

        Args:
            accepted: what is to run.
            fired: the record of the fire they come from.
            key: the event's key; it is seen from then on.
            replayed: the place of the dead letter that they replace.
            patient: nobody waits who sends nothing else meanwhile.

        Returns:
            The rows, and the future that is done when they are on disk.

        Raises:
            Unavailable: the inbox is full; nothing was kept.
        """
        docs = [_encode(one) for one in accepted]
        size = sum(map(len, docs))
        self._check_room(len(docs), size)
        batch, future = self._writer.urgent(patient=patient)
        rows = [
            InboxRow(self._seq + place, len(doc), one)
            for place, (one, doc) in enumerate(zip(accepted, docs, strict=True), 1)
        ]
        batch.insert("inbox", list(map(_table_row, rows, docs)), size)
        if fired is not None:
            self._activations.add_to(batch, fired)
        if key is not None:
            self._dedup.add_to(batch, key, future)
        if replayed is not None:
            batch.delete("dead_letter", replayed)
        self._seq += len(rows)
        self.depth += len(rows)
        self.size_bytes += size
        for one in accepted:
            self.by_namespace[one.namespace] += 1
        future.add_done_callback(lambda done: self._settle(done, accepted, size))
        return rows, future

    def finish(self, row: InboxRow, batch: Batch) -> None:
        """Delete `row` along with the batch that holds its record."""
        batch.delete("inbox", row.seq)
        if row.attempts or row.due_ms:
            batch.delete("attempt", row.seq)
        self.depth -= 1
        self.size_bytes -= row.size_bytes
        if row.seq > self._earlier:
            self.by_namespace[row.accepted.namespace] -= 1

    def attempted(
        self, row: InboxRow, attempts: Sequence[Attempt], *, due_ms: int
    ) -> None:
        """Note, lazily, how the row's runs went and when the next one is due."""
        doc = _encode(attempts)
        self._writer.lazy().insert("attempt", [(row.seq, due_ms, doc)], len(doc))

    async def flush(self) -> None:
        """Return when reading shows what was finished or attempted until now.

        Raises:
            Unavailable: the disk refuses.
        """
        await self._writer.flush()

    async def load_after(
        self, seq: int, *, rows: int, size_bytes: int
    ) -> list[InboxRow]:
        """The oldest rows behind `seq`, in order: at least one, at most so many.

        Rows with attempts are left out, for `load_due` tells of them; those in a line
        are not, because it may be that their turn has not come.
        """
        where = (
            "i.seq > ? AND (a.seq IS NULL OR i.line IS NOT NULL) ORDER BY i.seq LIMIT ?"
        )
        return await self._load(where, (seq, rows), size_bytes)

    async def load_line(
        self, line: str, *, after: int, upto: int, rows: int, size_bytes: int
    ) -> list[InboxRow]:
        """The same of one line, as far as `upto`."""
        where = "i.line = ? AND i.seq > ? AND i.seq <= ? ORDER BY i.seq LIMIT ?"
        return await self._load(where, (line, after, upto, rows), size_bytes)

    async def load_rows(
        self, seqs: Sequence[int], *, size_bytes: int
    ) -> list[InboxRow]:
        """These rows, as far as they are there: at least one of them."""
        marks = ",".join("?" * len(seqs))
        where = f"i.seq IN ({marks}) ORDER BY i.seq"
        return await self._load(where, tuple(seqs), size_bytes)

    async def load_due(self, rows: int, *, now_ms: int, lines: bool) -> list[Due]:
        """Rows with attempts: those that are due first, at most so many.

        With `lines`, before them all that are in a line.
        """
        select = (
            "SELECT a.seq, a.due_ms, a.doc, i.line, "
            "(SELECT min(seq) FROM inbox j WHERE j.line = i.line) "
            "FROM attempt a JOIN inbox i USING (seq) WHERE i.line IS "
        )

        def read(connection: sqlite3.Connection) -> list[Due]:
            found = (
                [] if not lines else connection.execute(select + "NOT NULL").fetchall()
            )
            found += connection.execute(
                select + "NULL ORDER BY a.due_ms LIMIT ?", (rows,)
            )
            return [
                Due(
                    seq,
                    _left_ms(due_ms, _attempts.decode(doc), now_ms),
                    line,
                    first is None or first == seq,
                )
                for seq, due_ms, doc, line, first in found
            ]

        return await self._reader.call(read)

    async def find(self, activation_id: str) -> InboxRow | None:
        """The row of that activation; reads through the whole inbox."""
        where = "instr(i.doc, CAST(? AS BLOB)) > 0 ORDER BY i.seq"
        quoted = f'"{activation_id}"'
        for row in await self._load(where, (quoted,), None):
            if row.accepted.activation_id == activation_id:
                return row
        return None

    async def page(
        self, namespace: str | None, *, after: int, rows: int
    ) -> list[InboxRow]:
        """The oldest rows behind `after`, of one namespace or (None) of all."""
        where = "i.seq > ? ORDER BY i.seq"

        def read(connection: sqlite3.Connection) -> list[InboxRow]:
            found: list[InboxRow] = []
            for row in _rows(connection.execute(_SELECT + where, (after,))):
                if namespace in (None, row.accepted.namespace):
                    found.append(row)
                if len(found) == rows:
                    break
            return found

        return await self._reader.call(read)

    async def _load(
        self, where: str, parameters: tuple[object, ...], size_bytes: int | None
    ) -> list[InboxRow]:
        def read(connection: sqlite3.Connection) -> list[InboxRow]:
            found: list[InboxRow] = []
            size = 0
            for row in _rows(connection.execute(_SELECT + where, parameters)):
                size += row.size_bytes
                if found and size_bytes is not None and size > size_bytes:
                    break
                found.append(row)
            return found

        return await self._reader.call(read)

    def _check_room(self, rows: int, size: int) -> None:
        settings = self._settings
        if self.depth + rows > settings.inbox_rows:
            raise Unavailable("the inbox is full")
        if self.size_bytes + size > settings.inbox_bytes:
            raise Unavailable("the inbox is full")
        if self._writer.pending_bytes + size > settings.pending_bytes:
            raise Unavailable("the disk is too slow")

    def _settle(
        self, done: asyncio.Future[None], accepted: Sequence[Accepted], size: int
    ) -> None:
        if done.exception() is not None:
            self.depth -= len(accepted)
            self.size_bytes -= size
            self.by_namespace.subtract(one.namespace for one in accepted)


def _table_row(row: InboxRow, doc: bytes) -> Row:
    return (row.seq, doc, row.accepted.line)


def _left_ms(due_ms: int, attempts: Sequence[Attempt], now_ms: int) -> int:
    """Never longer than it was to be from the start, whatever the clock says."""
    left_ms = due_ms - now_ms
    if attempts:
        last = attempts[-1]
        left_ms = min(left_ms, due_ms - last.start_ms - last.duration_ms)
    return max(0, left_ms)


def _rows(cursor: Iterable[Any]) -> Iterable[InboxRow]:
    for seq, doc, attempts, due_ms in cursor:
        yield InboxRow(
            seq,
            len(doc),
            _decoder.decode(doc),
            _attempts.decode(attempts) if attempts else (),
            due_ms or 0,
        )
