"""Calls that running actions wait for: they must not wait for their callers' memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge_agent.pool.policy import may_be_nested
from edge_agent.sandbox.fake import FakeFactory

Open = Callable[..., Awaitable[Any]]
SECRET = {"provide-api-key": False}


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


@pytest.mark.parametrize(
    ("job", "caller", "nested"),
    [
        ({"transaction_id": "a"}, {"transaction_id": "a", "annotations": SECRET}, True),
        (
            {"transaction_id": "b"},
            {"transaction_id": "a", "annotations": SECRET},
            False,
        ),
        ({"transaction_id": "b"}, {"transaction_id": "a"}, True),
        ({"namespace": "other", "transaction_id": "b"}, {"transaction_id": "a"}, False),
        ({"transaction_id": "a", "blocking": False}, {"transaction_id": "a"}, False),
    ],
)
def test_a_job_may_be_nested_in_one_that_passed_its_id_on_or_has_the_key(
    make_job: Callable[..., Any],
    job: dict[str, Any],
    caller: dict[str, Any],
    nested: bool,
) -> None:
    inner = make_job(**{"blocking": True, **job})

    assert may_be_nested(inner, [make_job(**caller)]) is nested
    assert not may_be_nested(inner, [])


async def test_nested_calls_go_beyond_the_memory_and_give_it_back(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding(), memory_mb=256, nested_memory_mb=512)
    futures = [
        house.submit(name, blocking=True, transaction_id="one")
        for name in ("outer", "middle", "inner")
    ]
    await house.settle()
    assert house.pool.view().active == 3
    assert house.pool.view().used_mb == 768

    for sandbox in reversed(house.sandboxes):
        sandbox.release()
        await house.settle()

    assert all(future.done() for future in futures)
    assert house.pool.view().used_mb <= 256


async def test_a_nested_call_goes_before_those_that_queue_for_memory(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding(), memory_mb=256, nested_memory_mb=256)
    house.submit("outer", annotations=SECRET, transaction_id="one")
    await house.settle()
    house.submit("other", blocking=True, transaction_id="two")
    house.submit("inner", blocking=True, transaction_id="one")
    await house.settle()

    assert house.pool.view().active == 2
    assert house.pool.view().queued == 1


async def test_beyond_the_allowance_a_nested_call_queues(open_pool: Open) -> None:
    house = await open_pool(factory=holding(), memory_mb=256, nested_memory_mb=256)
    for name in ("outer", "middle", "inner"):
        house.submit(name, blocking=True, transaction_id="one")
    await house.settle()

    assert house.pool.view().active == 2
    assert house.pool.view().queued == 1
