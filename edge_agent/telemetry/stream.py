"""Live streams, of finished activations and of accepted events, for whoever watches.

Publishing never waits. A subscriber that does not keep up loses the oldest records of
its own queue and is told how many; nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.delivery import Happening

QUEUE_RECORDS = 4096
#: Who subscribes to it is told of every namespace.
ALL = "*"


class Owned(Protocol):
    """What belongs to a namespace, and is told to nobody else."""

    @property
    def namespace(self) -> str: ...


Told = TypeVar("Told", bound=Owned)


class Subscriber(Generic[Told]):
    """One watcher's bounded queue."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.missed = 0
        self._records: deque[Told] = deque()
        self._arrived = asyncio.Event()

    def offer(self, record: Told) -> None:
        if len(self._records) >= QUEUE_RECORDS:
            self._records.popleft()
            self.missed += 1
        self._records.append(record)
        self._arrived.set()

    async def take(self) -> list[Told]:
        """All that came since the last call; waits for the first."""
        await self._arrived.wait()
        self._arrived.clear()
        taken = list(self._records)
        self._records.clear()
        return taken

    async def __aiter__(self) -> AsyncIterator[Told]:
        while True:
            for record in await self.take():
                yield record


class Stream(Generic[Told]):
    """Owns the subscribers."""

    def __init__(self) -> None:
        self._subscribers: dict[str, set[Subscriber[Told]]] = {}

    def watched(self, namespace: str) -> bool:
        """Whether anybody would be told: ask before making something only to tell."""
        watching = self._subscribers
        return bool(watching) and (namespace in watching or ALL in watching)

    def publish(self, record: Told) -> None:
        for namespace in (record.namespace, ALL):
            for subscriber in self._subscribers.get(namespace, ()):
                subscriber.offer(record)

    @contextmanager
    def subscribe(self, namespace: str) -> Iterator[Subscriber[Told]]:
        subscriber: Subscriber[Told] = Subscriber(namespace)
        peers = self._subscribers.setdefault(namespace, set())
        peers.add(subscriber)
        try:
            yield subscriber
        finally:
            peers.discard(subscriber)
            if not peers:
                self._subscribers.pop(namespace, None)


class ActivationStream(Stream[ActivationRecord]):
    """Activations as they end."""


class EventStream(Stream[Happening]):
    """What happens to accepted events."""
