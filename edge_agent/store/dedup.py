"""Keys of events seen before, so that an event told twice runs once.

A key is written in the transaction that accepts its event: both are there or neither.
Keys are kept as digests until their window is over, at most so many; when there are
more, the oldest are forgotten first, and an event may then run again, which at-least-
once allows. Looking one up touches no disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from edge_agent.settings import Store as StoreSettings
from edge_agent.store.batch import Batch

DIGEST_BYTES = 16


class Key(msgspec.Struct, frozen=True):
    """`scope` keeps the keys of different subscriptions apart."""

    scope: str
    key: str
    window_ms: int

    @property
    def digest(self) -> bytes:
        text = f"{self.scope}\0{self.key}".encode()
        return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Dedup:
    """Owns the keys. `repeated` counts events left out, `forgotten` keys given up."""

    def __init__(
        self, settings: StoreSettings, *, wall_ms: Callable[[], int] = _wall_ms
    ) -> None:
        self._most = settings.dedup_keys
        self._wall_ms = wall_ms
        self._until: OrderedDict[bytes, int] = OrderedDict()
        self._coming: dict[bytes, asyncio.Future[None]] = {}
        self.repeated = 0
        self.forgotten = 0

    def load(self, connection: sqlite3.Connection) -> None:
        # Those that are over too: the next key deletes them. To start is to read, as
        # far as can be: the disk may have no room.
        rows = connection.execute("SELECT key, until_ms FROM seen ORDER BY until_ms")
        self._until.update(rows)

    def __len__(self) -> int:
        return len(self._until)

    def seen(self, key: Key) -> bool | asyncio.Future[None]:
        """Whether the key was committed within its window.

        A future when an event of that key is on its way to the disk: it is done when
        that one is kept, and fails when it is not.
        """
        digest = key.digest
        coming = self._coming.get(digest)
        if coming is not None:
            self.repeated += 1
            return coming
        if self._until.get(digest, 0) <= self._wall_ms():
            return False
        self.repeated += 1
        return True

    def add_to(self, batch: Batch, key: Key, done: asyncio.Future[None]) -> None:
        """Write the key along with its event; `done` is the batch's future."""
        digest = key.digest
        until_ms = self._wall_ms() + key.window_ms
        self._until.pop(digest, None)
        batch.insert("seen", [(digest, until_ms)], DIGEST_BYTES)
        self._trim(batch)
        self._coming[digest] = done

        def settle(done: asyncio.Future[None]) -> None:
            del self._coming[digest]
            if not done.cancelled() and done.exception() is None:
                self._until[digest] = until_ms
                self._until.move_to_end(digest)

        done.add_done_callback(settle)

    def _trim(self, batch: Batch) -> None:
        """Delete what is over from the oldest on, and what is too much."""
        now_ms = self._wall_ms()
        while self._until:
            digest, until_ms = next(iter(self._until.items()))
            surplus = len(self._until) + len(self._coming) >= self._most
            if until_ms > now_ms and not surplus:
                return
            self.forgotten += until_ms > now_ms
            del self._until[digest]
            # A statement comes before the inserts: the key may be back in this batch.
            batch.statements.append(("DELETE FROM seen WHERE key=?", (digest,)))
