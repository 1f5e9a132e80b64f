"""The inbox: accepted work that has no record yet.

A row is written before its acceptance is told to anyone, and deleted in the same
transaction that writes its activation record.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.errors import Unavailable
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.activations import ActivationStore
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Batch, Writer


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted activation, all that is needed to run it after a restart.

    `action` is `ns/[pkg/]name` as it was invoked; `version` and `arguments` are fixed
    at acceptance. `result_topic` is the annotation of the rule that asked for it.
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


class InboxRow(msgspec.Struct, frozen=True):
    """An accepted activation and its place in the order of acceptance."""

    seq: int
    size_bytes: int
    accepted: Accepted


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Accepted)


class Inbox:
    """Owns the rows. `depth` and `size_bytes` count what is accepted and not done."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        activations: ActivationStore,
        settings: StoreSettings,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._activations = activations
        self._settings = settings
        self._seq = 0
        self.depth = 0
        self.size_bytes = 0

    def load(self, connection: sqlite3.Connection) -> None:
        self._seq, self.depth, self.size_bytes = connection.execute(
            "SELECT coalesce(max(seq), 0), count(*), coalesce(sum(length(doc)), 0) "
            "FROM inbox"
        ).fetchone()

    @property
    def last_seq(self) -> int:
        """The newest row's place; rows of a later acceptance have greater ones."""
        return self._seq

    def accept(
        self,
        accepted: Sequence[Accepted],
        *,
        fired: ActivationRecord | None = None,
    ) -> tuple[list[InboxRow], asyncio.Future[None]]:
        """Write rows, and the record of the fire they come from, in one transaction.

        Returns:
            The rows, and the future that is done when they are on disk.

        Raises:
            Unavailable: the inbox is full; nothing was kept.
        """
        docs = [_encode(one) for one in accepted]
        size = sum(map(len, docs))
        self._check_room(len(docs), size)
        batch, future = self._writer.urgent()
        rows = [
            InboxRow(self._seq + place, len(doc), one)
            for place, (one, doc) in enumerate(zip(accepted, docs, strict=True), 1)
        ]
        batch.insert(
            "inbox", [(row.seq, doc) for row, doc in zip(rows, docs, strict=True)], size
        )
        if fired is not None:
            self._activations.add_to(batch, fired)
        self._seq += len(rows)
        self.depth += len(rows)
        self.size_bytes += size
        future.add_done_callback(lambda done: self._settle(done, len(docs), size))
        return rows, future

    def finish(self, row: InboxRow, batch: Batch) -> None:
        """Delete `row` along with the batch that holds its record."""
        batch.delete("inbox", row.seq)
        self.depth -= 1
        self.size_bytes -= row.size_bytes

    async def load_after(
        self, seq: int, *, rows: int, size_bytes: int
    ) -> list[InboxRow]:
        """The oldest rows behind `seq`, in order: at least one, at most so many."""

        def read(connection: sqlite3.Connection) -> list[InboxRow]:
            found: list[InboxRow] = []
            size = 0
            for place, doc in connection.execute(
                "SELECT seq, doc FROM inbox WHERE seq > ? ORDER BY seq LIMIT ?",
                (seq, rows),
            ):
                size += len(doc)
                if found and size > size_bytes:
                    break
                found.append(InboxRow(place, len(doc), _decoder.decode(doc)))
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

    def _settle(self, done: asyncio.Future[None], rows: int, size: int) -> None:
        if done.exception() is not None:
            self.depth -= rows
            self.size_bytes -= size
