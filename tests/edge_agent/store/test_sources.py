"""What sources keep: notes, and what they share a transaction with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw

from edge_agent.model.errors import Unavailable
from edge_agent.store.inbox import Accepted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.store.store import Store

ROW = Accepted(
    activation_id="a" * 32,
    namespace="guest",
    action="guest/x",
    version="0.0.1",
    arguments=Raw(b"{}"),
    accepted_ms=1,
    transaction_id="t",
)


async def test_a_note_joins_what_the_same_turn_accepts(store: Store) -> None:
    before = store.writer.commits
    _, accepted = store.inbox.accept([ROW])
    store.sources.keep_note("alarm/t", b"1", along=True)
    assert store.sources.note("alarm/t") is None
    await accepted
    await asyncio.sleep(0)

    assert store.writer.commits == before + 1
    assert store.sources.note("alarm/t") == b"1"


async def test_a_note_that_shares_a_failure_is_not_kept(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        await store.sources._writer.flush()
        store.writer._connection.execute("DROP TABLE inbox")
        _, accepted = store.inbox.accept([ROW])
        store.sources.keep_note("alarm/t", b"1", along=True)
        with pytest.raises(Unavailable):
            await accepted
        await asyncio.sleep(0)

        assert store.sources.note("alarm/t") is None


async def test_the_youngest_note_is_the_one_that_stays(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        store.sources.keep_note("k", b"old, lazy")
        store.sources.keep_note("k", b"young, urgent", along=True)
        store.sources.keep_note("gone", b"1")
        store.sources.keep_note("gone", None)
        store.sources.keep_note("back", None)
        store.sources.keep_note("back", b"2")
    async with open_store() as store:
        assert store.sources.note("k") == b"young, urgent"
        assert store.sources.note("gone") is None
        assert store.sources.note("back") == b"2"
