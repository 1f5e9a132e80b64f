"""What waits to be written is bounded: whoever makes more of it waits first."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from edge_agent.model.errors import Unavailable
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    settings = StoreSettings(lazy_ms=60_000, pending_bytes=1000)
    async with Store(tmp_path, settings) as store:
        yield store


def put_lazily(store: Store, size: int) -> None:
    batch = store.writer.lazy()
    row = (f"id-{store.writer.commits}", "guest", "a", None, 0, None, b"x" * size)
    batch.insert("activation", [row], size)


async def test_there_is_room_at_first(store: Store) -> None:
    assert not store.crowded
    await asyncio.wait_for(store.room(), 1)


async def test_room_is_made_by_writing_at_once(store: Store) -> None:
    put_lazily(store, 2000)
    assert store.crowded
    await asyncio.wait_for(store.room(), 5)
    assert not store.crowded
    assert store.writer.commits == 1


async def test_several_wait_for_one_commit(store: Store) -> None:
    put_lazily(store, 2000)
    await asyncio.wait_for(asyncio.gather(*(store.room() for _ in range(5))), 5)
    assert store.writer.commits == 1


async def test_a_disk_that_takes_nothing_is_said(store: Store) -> None:
    class Broken:
        def make_room(self, _: sqlite3.Connection, __: Sequence[int]) -> bool:
            raise sqlite3.OperationalError("disk I/O error")

        def rolled_back(self) -> None: ...

    keeper, store.writer._keeper = store.writer._keeper, Broken()
    put_lazily(store, 2000)
    with pytest.raises(Unavailable) as refused:
        await asyncio.wait_for(store.room(), 5)
    assert "disk I/O error" in refused.value.reason
    store.writer._keeper = keeper
