"""What event sources must not forget: subscriptions and the outbox.

Implements `SourceState` of events/base; `app` hands it over.
"""

from __future__ import annotations

import sqlite3

import msgspec

from edge_agent.model.feeds import Outgoing, Subscription
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Batch, Writer

_encode = msgspec.json.Encoder().encode
_outgoing = msgspec.json.Decoder(Outgoing)


class SourceStore:
    """Owns subscriptions (in memory, written through) and the outbox (on disk)."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._subscriptions: dict[str, Subscription] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        for (doc,) in connection.execute("SELECT doc FROM subscription"):
            subscription = msgspec.json.decode(doc, type=Subscription)
            self._subscriptions[subscription.id] = subscription

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

    async def outbox(self) -> list[Outgoing]:
        await self._writer.flush()
        rows = await self._reader.rows("SELECT doc FROM outbox")
        return [_outgoing.decode(row[0]) for row in rows]  # type: ignore[arg-type]

    def send(self, outgoing: Outgoing, batch: Batch) -> None:
        """Keep `outgoing` along with the batch that holds its record."""
        doc = _encode(outgoing)
        batch.insert("outbox", ((outgoing.id, doc),), len(doc))

    def sent(self, outgoing_id: str) -> None:
        self._writer.lazy().delete("outbox", outgoing_id)
