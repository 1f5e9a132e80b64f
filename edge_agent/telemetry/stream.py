"""The live stream of finished activations, for whoever watches.

Publishing never waits. A subscriber that does not keep up loses the oldest records of
its own queue and is told how many; nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from edge_agent.model.activations import ActivationRecord

QUEUE_RECORDS = 4096


class Subscriber:
    """One watcher's bounded queue."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.missed = 0
        self._records: deque[ActivationRecord] = deque()
        self._arrived = asyncio.Event()

    def offer(self, record: ActivationRecord) -> None:
        if len(self._records) >= QUEUE_RECORDS:
            self._records.popleft()
            self.missed += 1
        self._records.append(record)
        self._arrived.set()

    async def take(self) -> list[ActivationRecord]:
        """All that came since the last call; waits for the first."""
        await self._arrived.wait()
        self._arrived.clear()
        taken = list(self._records)
        self._records.clear()
        return taken

    async def __aiter__(self) -> AsyncIterator[ActivationRecord]:
        while True:
            for record in await self.take():
                yield record


class ActivationStream:
    """Owns the subscribers."""

    def __init__(self) -> None:
        self._subscribers: dict[str, set[Subscriber]] = {}

    def publish(self, record: ActivationRecord) -> None:
        for subscriber in self._subscribers.get(record.namespace, ()):
            subscriber.offer(record)

    @contextmanager
    def subscribe(self, namespace: str) -> Iterator[Subscriber]:
        subscriber = Subscriber(namespace)
        peers = self._subscribers.setdefault(namespace, set())
        peers.add(subscriber)
        try:
            yield subscriber
        finally:
            peers.discard(subscriber)
            if not peers:
                self._subscribers.pop(namespace, None)
