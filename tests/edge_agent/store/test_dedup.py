"""Keys seen before: with the event or not at all, for their window, at most so many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.adapters import NodeSink
from edge_agent.events.base import Event, Receipt
from edge_agent.model.errors import Unavailable
from edge_agent.store.dedup import Key
from edge_agent.store.store import Store
from tests.edge_agent.store.test_inbox import accepted


def key(name: str, *, window_ms: int = 60_000) -> Key:
    return Key("guest/t", name, window_ms)


async def test_a_key_is_seen_once_its_event_is_on_disk_and_after_a_restart(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        assert store.dedup.seen(key("k")) is False
        _, done = store.inbox.accept([accepted(1)], key=key("k"))
        coming = store.dedup.seen(key("k"))
        assert isinstance(coming, asyncio.Future)
        await done
        assert store.dedup.seen(key("k")) is True
        assert store.dedup.seen(Key("guest/other", "k", 1)) is False
    async with open_store() as store:
        assert store.dedup.seen(key("k")) is True


async def test_a_key_is_forgotten_when_its_window_is_over(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        _, done = store.inbox.accept([accepted(1)], key=key("k", window_ms=30))
        await done
        await asyncio.sleep(0.04)
        assert store.dedup.seen(key("k")) is False
    async with open_store() as store:
        assert store.dedup.seen(key("k")) is False
        _, done = store.inbox.accept([accepted(2)], key=key("other"))
        await done
        assert len(store.dedup) == 1


async def test_a_key_may_come_back_in_the_batch_that_forgets_it(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        _, done = store.inbox.accept([accepted(1)], key=key("k", window_ms=1))
        await done
        await asyncio.sleep(0.005)
        store.inbox.accept([accepted(2)], key=key("other"))
        _, done = store.inbox.accept([accepted(3)], key=key("k"))
        await done
    async with open_store() as store:
        assert store.dedup.seen(key("k")) is True


async def test_keys_are_bounded_and_the_oldest_go_first(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(dedup_keys=3) as store:
        for n in range(6):
            _, done = store.inbox.accept([accepted(n)], key=key(str(n)))
            await done
        seen = [store.dedup.seen(key(str(n))) for n in range(6)]
        assert seen == [False] * 3 + [True] * 3
        assert (len(store.dedup), store.dedup.forgotten) == (3, 3)


async def test_a_refused_event_leaves_no_key(open_store: Callable[..., Store]) -> None:
    async with open_store(inbox_rows=1) as store:
        store.inbox.accept([accepted(1)])
        with pytest.raises(Unavailable):
            store.inbox.accept([accepted(2)], key=key("k"))
        assert store.dedup.seen(key("k")) is False


class Firing:
    """An engine that keeps events when the test says so."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fired = 0

    def fire(self, *_: Any, key: Key | None = None, **__: Any) -> Any:
        self.fired += 1
        kept: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        _, done = self.store.inbox.accept([accepted(self.fired)], key=key)
        done.add_done_callback(lambda _: kept.set_result("id"))
        return kept


async def test_two_of_a_key_at_once_run_once_and_both_are_kept(store: Store) -> None:
    await store.subjects.ensure("guest")
    sink, engine = NodeSink(store), Firing(store)
    sink.engine = engine  # type: ignore[assignment]
    event = Event(
        subscription="guest/t", payload=b"{}", origin="x", dedup=("k", 60_000)
    )
    receipts = await asyncio.gather(sink(event), sink(event))
    receipts.append(await sink(event))
    assert receipts == [Receipt.KEPT] * 3
    assert (engine.fired, store.dedup.repeated) == (1, 2)
