"""Records: readable at once, newest first, bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edge_agent.model.activations import ActivationRecord, success
from edge_agent.store import activations
from edge_agent.store.store import Store

NOW_MS = int(time.time() * 1000)


def record(number: int, *, name: str = "a", size: int = 0) -> ActivationRecord:
    return ActivationRecord(
        namespace="guest",
        name=name,
        version="0.0.1",
        subject="guest",
        activation_id=f"{number:032x}",
        start=NOW_MS + number,
        response=success(b'{"x":"%b"}' % (b"y" * size)),
    )


async def test_a_record_can_be_read_before_it_is_written(store: Store) -> None:
    store.activations.add(record(1))
    assert await store.activations.get("guest", f"{1:032x}") == record(1)


async def test_a_record_of_another_namespace_is_not_found(store: Store) -> None:
    store.activations.add(record(1))
    assert await store.activations.get("other", f"{1:032x}") is None
    await store.writer.flush()
    assert await store.activations.get("other", f"{1:032x}") is None


async def test_a_listing_has_what_was_added_just_before_newest_first(
    store: Store,
) -> None:
    for number in range(5):
        store.activations.add(record(number))
    found = await store.activations.list("guest", skip=1, limit=3)
    assert [r.start - NOW_MS for r in found] == [3, 2, 1]


async def test_since_and_upto_are_inclusive(store: Store) -> None:
    for number in range(5):
        store.activations.add(record(number))
    found = await store.activations.list("guest", since=NOW_MS + 1, upto=NOW_MS + 3)
    assert [r.start - NOW_MS for r in found] == [3, 2, 1]
    assert await store.activations.count("guest", since=NOW_MS + 1) == 4


async def test_the_name_filter_knows_the_package(store: Store) -> None:
    store.activations.add(record(1), within="pkg/a")
    store.activations.add(record(2))
    assert await store.activations.count("guest", name="pkg/a") == 1
    assert await store.activations.count("guest", name="a") == 1


async def test_the_oldest_records_go_when_there_are_too_many(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(records=10) as store:
        for number in range(25):
            store.activations.add(record(number))
            await store.writer.flush()
        found = await store.activations.list("guest", limit=200)
        assert [r.start - NOW_MS for r in found] == list(range(24, 14, -1))


async def test_the_oldest_records_go_when_they_are_too_big(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(records_bytes=10_000) as store:
        for number in range(20):
            store.activations.add(record(number, size=2_000))
        assert 1 <= await store.activations.count("guest") <= 5


async def test_records_too_old_go_at_the_next_write(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "AGE_CHECK_S", 0.0)
    async with open_store() as store:
        store.activations.add(record(-8 * 86_400_000))
        assert await store.activations.count("guest") == 1
        store.activations.add(record(1))
        found = await store.activations.list("guest")
        assert [r.start - NOW_MS for r in found] == [1]


async def test_the_bounds_hold_after_a_restart(
    open_store: Callable[..., Store],
) -> None:
    async with open_store(records=5) as store:
        for number in range(5):
            store.activations.add(record(number))
    async with open_store(records=5) as store:
        store.activations.add(record(9))
        assert await store.activations.count("guest") == 5


async def test_a_large_result_that_two_records_have_is_written_once(
    open_store: Callable[..., Store],
) -> None:
    step, whole = record(1, size=100_000), record(2, name="s", size=100_000)
    whole = replace(whole, response=step.response)
    small = record(3)
    async with open_store() as store:
        store.activations.add(step, result_in=whole.activation_id)
        assert await store.activations.get("guest", step.activation_id) is None
        store.activations.add(whole)
        store.activations.add(small, result_in=whole.activation_id)
        for one in (step, whole, small):  # in memory, then from the file
            assert await store.activations.get("guest", one.activation_id) == one
        assert await store.activations.list("guest") == [small, whole, step]
    async with open_store(records=1) as store:
        for one in (step, whole, small):
            assert await store.activations.get("guest", one.activation_id) == one
        sql = "SELECT sum(length(doc)) FROM activation"
        (size,) = await store.activations._reader.rows(sql)
        assert size[0] < 110_000
        store.activations.add(record(4))
        assert await store.activations.list("guest") == [record(4)]
