"""Dead letters: accepted events that could not be brought to a good end.

A letter is written in the transaction that writes the event's final record and deletes
its inbox row. Nothing accepted is ever lost, so a full drawer gives nothing up: the
rows that should go there stay in the inbox, held, until letters are replayed or
dropped, and an inbox that gets full by that refuses new work (503, no PUBACK). Who
would rather lose the oldest sets `dead_letters_full = "drop oldest"`.
"""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict

import msgspec

from edge_agent.model.delivery import Attempt, Reason
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.batch import Batch
from edge_agent.store.inbox import Accepted
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Writer


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """The event as it was accepted, why it died, and every run it had."""

    accepted: Accepted
    reason: Reason
    attempts: tuple[Attempt, ...]
    died_ms: int


class Filed(msgspec.Struct, frozen=True):
    """A letter and its place, in the order of dying."""

    seq: int
    letter: DeadLetter


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(DeadLetter)


class DeadLetters:
    """Owns the letters. `dropped` counts those given up for room."""

    def __init__(self, writer: Writer, reader: Reader, settings: StoreSettings) -> None:
        self._writer = writer
        self._reader = reader
        self._settings = settings
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._seq = 0
        self.size_bytes = 0
        self.dropped = 0

    def load(self, connection: sqlite3.Connection) -> None:
        self._sizes.update(
            connection.execute("SELECT seq, length(doc) FROM dead_letter ORDER BY seq")
        )
        self._seq = next(reversed(self._sizes), 0)
        self.size_bytes = sum(self._sizes.values())

    @property
    def count(self) -> int:
        return len(self._sizes)

    @property
    def full(self) -> bool:
        """No more letters are taken now."""
        settings = self._settings
        return settings.dead_letters_full == "hold" and (
            self.count >= settings.dead_letters
            or self.size_bytes >= settings.dead_letters_bytes
        )

    @property
    def newest(self) -> int:
        """The newest letter's place."""
        return self._seq

    def holds(self, filed: Filed) -> bool:
        """Whether it is still there."""
        return filed.seq in self._sizes

    def add(
        self,
        accepted: Accepted,
        reason: Reason,
        attempts: tuple[Attempt, ...],
        batch: Batch,
    ) -> None:
        """File a letter along with the batch of its record; ask `full` before."""
        letter = DeadLetter(
            accepted=accepted,
            reason=reason,
            attempts=attempts,
            died_ms=time.time_ns() // 1_000_000,
        )
        doc = _encode(letter)
        self._seq += 1
        row = (self._seq, accepted.activation_id, accepted.namespace, doc)
        batch.insert("dead_letter", [row], len(doc))
        self._sizes[self._seq] = len(doc)
        self.size_bytes += len(doc)
        self._give_up(batch)

    def removed(self, filed: Filed) -> None:
        """Its deletion has been committed."""
        self.size_bytes -= self._sizes.pop(filed.seq, 0)

    async def drop(self, filed: Filed) -> None:
        """Delete it for good; returns when it is gone from the disk."""
        statement = "DELETE FROM dead_letter WHERE seq=?"
        await self._writer.execute((statement, (filed.seq,)))
        self.removed(filed)

    async def find(self, activation_id: str) -> Filed | None:
        found = await self._read("id=?", (activation_id,), 1)
        return found[0] if found else None

    async def page(
        self, namespace: str | None, *, after: int, rows: int
    ) -> list[Filed]:
        """The oldest behind `after`, of one namespace or (None) of all."""
        if namespace is None:
            return await self._read("seq>?", (after,), rows)
        return await self._read("seq>? AND namespace=?", (after, namespace), rows)

    async def _read(
        self, where: str, parameters: tuple[object, ...], rows: int
    ) -> list[Filed]:
        await self._writer.flush()
        found = await self._reader.rows(
            f"SELECT seq, doc FROM dead_letter WHERE {where} ORDER BY seq LIMIT ?",  # noqa: S608 ours
            (*parameters, rows),
        )
        return [Filed(seq, _decoder.decode(doc)) for seq, doc in found]  # type: ignore[arg-type]

    def _give_up(self, batch: Batch) -> None:
        """With "drop oldest": delete what is too much, but never the newest."""
        settings = self._settings
        if settings.dead_letters_full == "hold":
            return
        while self.count > 1 and (
            self.count > settings.dead_letters
            or self.size_bytes > settings.dead_letters_bytes
        ):
            seq, size = self._sizes.popitem(last=False)
            batch.delete("dead_letter", seq)
            self.size_bytes -= size
            self.dropped += 1
