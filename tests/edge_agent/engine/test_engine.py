"""Invoke and fire: what is kept, when it is told, and what a restart does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge_agent.engine.engine import Accepted
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.errors import BadRequest, Conflict, NotFound, Unavailable
from edge_agent.model.names import FullName
from edge_agent.store.store import Store

A = FullName("guest", "a")
T = FullName("guest", "t")


async def invoke(house: Any, **options: Any) -> Accepted | ActivationRecord:
    options = {
        "action": A,
        "payload": b"{}",
        "blocking": False,
        "wait_ms": 1000,
        "transaction_id": "tid",
        **options,
    }
    return await house.engine.invoke(house.identity, **options)


async def fire(house: Any, payload: bytes = b"{}", **headers: str) -> str | None:
    return await house.engine.fire(
        house.identity, trigger=T, payload=payload, headers=headers, transaction_id="t"
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_blocking_call_gets_the_record(house: Any) -> None:
    await house.put_action()
    house.pool.automatic = True
    record = await invoke(house, payload=b'{"x":1}', blocking=True)
    assert isinstance(record, ActivationRecord)
    assert bytes(record.response.result) == b'{"x":1}'
    stored = await house.store.activations.get("guest", record.activation_id)
    assert msgspec.json.encode(stored) == msgspec.json.encode(record)


async def test_an_accepted_invocation_runs_and_leaves_the_inbox(house: Any) -> None:
    await house.put_action()
    accepted = await invoke(house)
    assert isinstance(accepted, Accepted)
    assert house.engine.waiting == 1
    await until(lambda: house.pool.held)
    house.pool.end(accepted.activation_id)
    await until(lambda: house.engine.waiting == 0)
    assert await house.store.activations.get("guest", accepted.activation_id)


async def test_a_blocking_call_that_expires_is_kept_under_its_id(house: Any) -> None:
    await house.put_action()
    accepted = await invoke(house, blocking=True, wait_ms=10)
    assert isinstance(accepted, Accepted)
    assert house.pool.order == [accepted.activation_id]
    assert house.engine.waiting == 1
    house.pool.end(accepted.activation_id)
    await until(lambda: house.engine.waiting == 0)
    assert house.pool.order == [accepted.activation_id]
    assert await house.store.activations.get("guest", accepted.activation_id)


async def test_an_expired_call_is_not_delivered_a_second_time(house: Any) -> None:
    await house.put_action()
    kept = await invoke(house, blocking=True, wait_ms=10)
    assert isinstance(kept, Accepted)
    later = [await invoke(house) for _ in range(20)]
    while house.engine.waiting > 1:
        for name in [n for n in house.pool.held if n != kept.activation_id]:
            house.pool.end(name)
        await asyncio.sleep(0.005)
    assert len(house.pool.order) == len(set(house.pool.order)) == 1 + len(later)


async def test_what_was_accepted_runs_after_a_restart_with_the_same_id(
    open_store: Callable[..., Store], open_house: Any
) -> None:
    async with open_store() as store:
        house = await open_house(store)
        await house.put_action(greeting="hi")
        accepted = [await invoke(house, payload=b'{"n":%d}' % n) for n in range(9)]
        await house.engine.stop()
        house.pool.cancel_all()
    async with open_store() as store:
        house = await open_house(store)
        house.pool.automatic = True
        house.engine.start_delivery()
        await until(lambda: house.engine.waiting == 0)
        ids = [one.activation_id for one in accepted]
        assert house.pool.order == ids
        records = [await store.activations.get("guest", i) for i in ids]
        results = [json.loads(bytes(r.response.result)) for r in records if r]
        assert results == [{"greeting": "hi", "n": n} for n in range(9)]


async def test_the_pool_never_holds_more_than_two_accepted_jobs_a_slot(
    house: Any,
) -> None:
    await house.put_action()
    await asyncio.gather(*(invoke(house) for _ in range(50)))
    assert len(house.pool.held) == 2 * house.pool.slots


async def test_a_long_backlog_is_read_from_disk_in_order(house: Any) -> None:
    await house.put_action()
    accepted = await asyncio.gather(*(invoke(house) for _ in range(1500)))
    while house.engine.waiting:
        for name in list(house.pool.held):
            house.pool.end(name)
        await asyncio.sleep(0)
    assert house.pool.order == [one.activation_id for one in accepted]
    assert await house.store.activations.count("guest") == 1500


async def test_a_pool_without_room_delays_and_loses_nothing(house: Any) -> None:
    await house.put_action()
    house.pool.room = 0
    accepted = await invoke(house)
    assert house.pool.order == []
    house.pool.room = 10
    house.engine.room()
    assert house.pool.order == [accepted.activation_id]


async def test_b46_an_action_deleted_before_its_turn_is_an_application_error(
    house: Any,
) -> None:
    action = await house.put_action()
    house.pool.room = 0
    accepted = await invoke(house)
    await house.store.entities.delete(action)
    house.pool.room = 10
    house.engine.room()
    record = await house.store.activations.get("guest", accepted.activation_id)
    assert record.response.status == "application error"
    assert b"may have been deleted" in bytes(record.response.result)
    assert record.annotation("kind") == "unknown"
    assert {one.key for one in record.annotations} == {"path", "kind", "limits"}
    assert house.engine.waiting == 0


async def test_after_stop_nothing_is_accepted(house: Any) -> None:
    await house.put_action()
    await house.engine.stop()
    with pytest.raises(Unavailable):
        await invoke(house)
    with pytest.raises(Unavailable):
        await invoke(house, blocking=True)


async def test_a_blocking_call_cut_off_by_the_stop_is_kept(house: Any) -> None:
    await house.put_action()
    call = asyncio.create_task(invoke(house, blocking=True, wait_ms=60_000))
    await until(lambda: house.pool.held)
    await house.engine.stop()
    house.pool.cancel_all()
    accepted = await call
    assert isinstance(accepted, Accepted)
    assert house.engine.waiting == 1


async def test_parameters_are_laid_under_the_payload(house: Any) -> None:
    await house.put_action(a=1, b=2)
    house.pool.automatic = True
    record = await invoke(house, payload=b'{"b":3,\n"c":4}', blocking=True)
    assert json.loads(bytes(record.response.result)) == {"a": 1, "b": 3, "c": 4}
    assert b"\n" not in bytes(record.response.result)


async def test_a73_a_final_parameter_cannot_be_set(house: Any) -> None:
    from edge_agent.model.entities import Action, Exec, KeyValue

    await house.store.entities.put(
        Action(
            namespace="guest",
            name="a",
            exec=Exec(kind="python:3.11"),
            parameters=[KeyValue(key="k", value=1)],
            annotations=[KeyValue(key="final", value=True)],
        )
    )
    with pytest.raises(BadRequest, match="parameters that are not allowed"):
        await invoke(house, payload=b'{"k":2}')


async def test_a_missing_action_and_a_trigger_in_its_place_differ(house: Any) -> None:
    with pytest.raises(NotFound):
        await invoke(house)
    await house.put_trigger()
    with pytest.raises(Conflict):
        await invoke(house, action=T)


async def test_a35_a_trigger_without_active_rules_keeps_nothing(house: Any) -> None:
    await house.put_action()
    await house.put_trigger(("r", "a", False))
    assert await fire(house) is None
    assert await house.store.activations.count("guest") == 0


async def test_a86_a87_a_fire_logs_every_rule_and_runs_the_active_ones(
    house: Any,
) -> None:
    await house.put_action()
    await house.put_trigger(("r1", "a", True), ("r2", "gone", True), ("r3", "a", False))
    house.pool.automatic = True
    fired = await fire(house, b'{"x":1}', foo="Bar")
    assert fired is not None
    record = await house.store.activations.get("guest", fired)
    entries = {e["rule"]: e for e in map(json.loads, record.logs)}
    assert entries["guest/r2"]["error"] == "The requested resource does not exist."
    assert "is inactive" in entries["guest/r3"]["error"]
    assert json.loads(bytes(record.response.result)) == {"x": 1}
    started = entries["guest/r1"]["activationId"]
    await until(lambda: house.engine.waiting == 0)
    run = await house.store.activations.get("guest", started)
    assert json.loads(bytes(run.response.result)) == {
        "__ow_headers": {"foo": "Bar"},
        "x": 1,
    }


async def test_a_fire_that_cannot_be_kept_starts_nothing(
    open_store: Callable[..., Store], house: Any
) -> None:
    await house.put_action()
    await house.put_trigger(("r", "a", True))
    house.store.inbox._settings = type(house.store.inbox._settings)(inbox_rows=1)
    await fire(house)
    with pytest.raises(Unavailable):
        await fire(house)
    assert house.engine.waiting == 1


async def test_finished_activations_reach_the_live_stream(house: Any) -> None:
    await house.put_action()
    house.pool.automatic = True
    with house.stream.subscribe("guest") as subscriber:
        record = await invoke(house, blocking=True)
        assert await subscriber.take() == [record]
