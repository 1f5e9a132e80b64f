"""Fakes of the seams of events, for tests of ours and of users.

`FakeSink` is what a source fires: it keeps the events and answers as told. `FakeState`
is a memory that forgets. `FakeSource` fires what a test hands it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from edge_agent.events.base import Event, Outgoing, Receipt, Sink, Subscription


class FakeSink:
    """Answers every event with `answer`, or when told to if that is None."""

    def __init__(self, answer: Receipt | None = Receipt.KEPT) -> None:
        self.answer = answer
        self.events: list[Event] = []
        self._pending: list[asyncio.Future[Receipt]] = []
        self._fired = asyncio.Event()

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        self.events.append(event)
        self._fired.set()
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if self.answer is None:
            self._pending.append(future)
        else:
            future.set_result(self.answer)
        return future

    @property
    def pending(self) -> int:
        return len(self._pending)

    def settle(self, receipt: Receipt, *, most: int | None = None) -> None:
        """Answer the oldest events that have no receipt yet; all by default."""
        count = len(self._pending) if most is None else most
        now, self._pending = self._pending[:count], self._pending[count:]
        for future in now:
            future.set_result(receipt)

    async def wait_for(self, count: int, *, timeout_s: float = 5.0) -> list[Event]:
        """The events, once there are `count`.

        Raises:
            TimeoutError: there were fewer.
        """
        async with asyncio.timeout(timeout_s):
            while len(self.events) < count:
                self._fired.clear()
                await self._fired.wait()
        return self.events


class FakeState:
    """`SourceState` in memory."""

    def __init__(
        self,
        subscriptions: Iterable[Subscription] = (),
        outbox: Iterable[Outgoing] = (),
    ) -> None:
        self.saved = {one.id: one for one in subscriptions}
        self.outgoing = {one.id: one for one in outbox}
        self.notes: dict[str, bytes] = {}

    def subscriptions(self, feed: str) -> list[Subscription]:
        return [one for one in self.saved.values() if one.feed == feed]

    async def save(self, subscription: Subscription) -> None:
        self.saved[subscription.id] = subscription

    async def forget(self, subscription_id: str) -> None:
        self.saved.pop(subscription_id, None)

    def note(self, key: str) -> bytes | None:
        return self.notes.get(key)

    def keep_note(self, key: str, doc: bytes | None, *, along: bool = False) -> None:  # noqa: ARG002 nothing here is on a disk
        if doc is None:
            self.notes.pop(key, None)
        else:
            self.notes[key] = doc

    async def outbox(self, after: str, *, most: int) -> list[Outgoing]:
        ids = sorted(one for one in self.outgoing if one > after)
        return [self.outgoing[one] for one in ids[:most]]

    def sent(self, outgoing_id: str) -> None:
        self.outgoing.pop(outgoing_id, None)


class FakeSource:
    """Fires its sink with what a test gives it, and keeps the receipts."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.receipts: list[Receipt] = []
        self.running = False

    async def run(self) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False

    def health(self) -> Mapping[str, Any]:
        return {"running": self.running, "receipts": len(self.receipts)}

    async def fire(self, event: Event) -> Receipt:
        receipt = await self._sink(event)
        self.receipts.append(receipt)
        return receipt
