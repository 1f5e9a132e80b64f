"""What event sources must not forget: subscriptions and the outbox.

Implements `SourceState` of events/base; `app` hands it over.
"""

from __future__ import annotations

import asyncio
import sqlite3

import msgspec

from edge_agent.model.feeds import Outgoing, Subscription
from edge_agent.store.batch import Batch
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Writer

_encode = msgspec.json.Encoder().encode
_outgoing = msgspec.json.Decoder(Outgoing)

#: A lazy note may be written after a younger one that was urgent: it has no say.
_KEEP_NOTE = (
    "INSERT INTO source_note VALUES (?,?,?) ON CONFLICT (key) "
    "DO UPDATE SET seq=excluded.seq, doc=excluded.doc WHERE excluded.seq > seq"
)


class SourceStore:
    """Owns subscriptions and notes (in memory too, written through), and the outbox."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._subscriptions: dict[str, Subscription] = {}
        self._notes: dict[str, bytes] = {}
        self._note_seq = 0

    def load(self, connection: sqlite3.Connection) -> None:
        for (doc,) in connection.execute("SELECT doc FROM subscription"):
            subscription = msgspec.json.decode(doc, type=Subscription)
            self._subscriptions[subscription.id] = subscription
        rows = connection.execute("SELECT key, seq, doc FROM source_note")
        for key, seq, doc in rows:
            self._notes[key] = doc
            self._note_seq = max(self._note_seq, seq)

    def subscriptions(self, feed: str) -> list[Subscription]:
        return [one for one in self._subscriptions.values() if one.feed == feed]

    async def save(self, subscription: Subscription) -> None:
        await self._writer.execute(
            (
                "INSERT OR REPLACE INTO subscription VALUES (?,?,?)",
                (subscription.id, subscription.feed, _encode(subscription)),
            )
        )
        self._subscriptions[subscription.id] = subscription

    async def forget(self, subscription_id: str) -> None:
        await self._writer.execute(
            ("DELETE FROM subscription WHERE id=?", (subscription_id,))
        )
        self._subscriptions.pop(subscription_id, None)

    def note(self, key: str) -> bytes | None:
        return self._notes.get(key)

    def keep_note(self, key: str, doc: bytes | None, *, along: bool = False) -> None:
        self._note_seq += 1
        if doc is None:
            self._notes.pop(key, None)
            statement = ("DELETE FROM source_note WHERE key=?", (key,))
            self._writer.lazy().statements.append(statement)
            return
        row = (key, self._note_seq, doc)
        if not along:
            self._notes[key] = doc
            self._writer.lazy().statements.append((_KEEP_NOTE, row))
            return
        batch, done = self._writer.urgent()
        batch.statements.append((_KEEP_NOTE, row))
        done.add_done_callback(lambda done: self._noted(key, doc, done))

    def _noted(self, key: str, doc: bytes, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._notes[key] = doc

    async def outbox(self, after: str, *, most: int) -> list[Outgoing]:
        await self._writer.flush()
        rows = await self._reader.rows(
            "SELECT doc FROM outbox WHERE id > ? ORDER BY id LIMIT ?", (after, most)
        )
        return [_outgoing.decode(row[0]) for row in rows]  # type: ignore[arg-type]

    def send(self, outgoing: Outgoing, batch: Batch) -> None:
        """Keep `outgoing` along with the batch that holds its record."""
        doc = _encode(outgoing)
        batch.insert("outbox", ((outgoing.id, doc),), len(doc))

    def sent(self, outgoing_id: str) -> None:
        self._writer.lazy().delete("outbox", outgoing_id)
