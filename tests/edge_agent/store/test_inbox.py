"""The inbox: order, bounds, and one transaction with the record."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import Raw

from edge_agent.model.activations import ActivationRecord, success
from edge_agent.model.errors import Unavailable
from edge_agent.store.inbox import Accepted
from edge_agent.store.store import Store


def accepted(number: int, *, size: int = 0) -> Accepted:
    return Accepted(
        activation_id=f"{number:032x}",
        namespace="guest",
        action="guest/a",
        version="0.0.1",
        arguments=Raw(b'{"x":"%b"}' % (b"y" * size)),
        accepted_ms=1,
        transaction_id="t",
    )


def record(number: int) -> ActivationRecord:
    return ActivationRecord(
        namespace="guest",
        name="a",
        version="0.0.1",
        subject="guest",
        activation_id=f"{number:032x}",
        start=2_000_000_000_000 + number,
        response=success(b"{}"),
    )


async def test_accepted_rows_are_there_in_order_after_a_restart(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        for number in range(3):
            _, done = store.inbox.accept([accepted(number)])
            await done
    async with open_store() as store:
        rows = await store.inbox.load_after(0, rows=10, size_bytes=1 << 20)
        assert [row.accepted.activation_id for row in rows] == [
            f"{number:032x}" for number in range(3)
        ]
        assert store.inbox.depth == 3


async def test_a_finished_row_is_gone_and_its_record_there_after_a_restart(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        rows, done = store.inbox.accept([accepted(1)])
        await done
        store.inbox.finish(rows[0], store.activations.add(record(1)))
    async with open_store() as store:
        assert store.inbox.depth == 0
        assert await store.inbox.load_after(0, rows=10, size_bytes=1 << 20) == []
        assert await store.activations.get("guest", f"{1:032x}") == record(1)


async def test_a_full_inbox_refuses_and_keeps_nothing(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(inbox_rows=2) as store:
        store.inbox.accept([accepted(1), accepted(2)])
        with pytest.raises(Unavailable):
            store.inbox.accept([accepted(3)])
        assert store.inbox.depth == 2


async def test_the_bytes_of_the_inbox_are_bounded_too(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(inbox_bytes=1000) as store:
        with pytest.raises(Unavailable):
            store.inbox.accept([accepted(1, size=1000)])
        assert store.inbox.size_bytes == 0


async def test_a_piece_of_a_long_backlog_is_bounded_but_never_empty(
    store: Store,
) -> None:
    _, done = store.inbox.accept([accepted(n, size=100) for n in range(5)])
    await done
    assert len(await store.inbox.load_after(0, rows=10, size_bytes=1)) == 1
    assert len(await store.inbox.load_after(0, rows=3, size_bytes=1 << 20)) == 3


async def test_seqs_go_on_after_a_restart_with_an_empty_inbox(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        rows, done = store.inbox.accept([accepted(1)])
        await done
        later, done = store.inbox.accept([accepted(2)])
        await done
        store.inbox.finish(rows[0], store.activations.add(record(1)))
    async with open_store() as store:
        rows, done = store.inbox.accept([accepted(3)])
        await done
        assert rows[0].seq > later[0].seq
