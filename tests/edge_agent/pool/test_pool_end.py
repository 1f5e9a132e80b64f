"""How a pool begins and ends."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge_agent.model.activations import StartKind
from edge_agent.model.errors import Unavailable
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.fake import FakeFactory
from edge_agent.settings import Pool as PoolSettings

Open = Callable[..., Awaitable[Any]]  # of the house that conftest makes


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


async def test_a_pool_that_does_not_run_takes_no_work(
    make_job: Callable[..., Any],
) -> None:
    async def no_code(_: object) -> str:
        return ""

    pool = Pool(
        FakeFactory(),
        settings=PoolSettings(),
        code_of=no_code,
        api_host="",
        response_limit=1,
    )
    with pytest.raises(Unavailable):
        pool.submit(make_job())
    await pool.drain(0.1)
    await pool.close()


async def test_drain_waits_for_running_and_blocking_jobs(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    running = house.submit()
    call, event = house.submit(blocking=True), house.submit()
    await house.settle()
    drained = asyncio.create_task(house.pool.drain(5))
    await house.settle()
    assert event.cancelled()
    with pytest.raises(Unavailable):
        house.submit()
    house.factory.busy[0].release()
    await house.settle()
    house.factory.busy[0].release()
    await asyncio.wait_for(drained, 1)
    assert running.result().response.success
    assert call.result().start is StartKind.WARM


async def test_drain_lets_go_of_what_does_not_end_in_time(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    running, queued = house.submit(), house.submit(blocking=True)
    await house.settle()
    await house.pool.drain(0.02)
    assert running.cancelled()
    assert queued.cancelled()
    await house.pool.close()
    await house.pool.close()
    assert house.states() == {}
    assert house.asked("destroy") == ["fake-1"]


async def test_close_waits_for_sandboxes_that_are_being_made(open_pool: Open) -> None:
    factory = FakeFactory()
    factory.hold_creates = True
    house = await open_pool(factory=factory, prewarm={"nodejs:20": 1})
    future = house.submit()
    await house.settle()
    closed = asyncio.create_task(house.pool.close())
    await house.settle()
    house.factory.release_creates()
    await asyncio.wait_for(closed, 1)
    assert future.cancelled()
    assert not house.factory.live
    assert house.asked("init") == []
    assert house.pool.view().used_mb == 0


async def test_a_sandbox_whose_making_never_began_is_forgotten(
    open_pool: Open,
) -> None:
    house = await open_pool()
    future = house.submit()
    house.task.cancel()
    await asyncio.wait([house.task])
    await house.pool.close()
    assert future.cancelled()
    assert house.pool.view().used_mb == 0


async def test_a_job_that_ends_after_the_pool_was_cancelled_still_ends(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding())
    well, badly = house.submit(), house.submit()
    await house.settle()
    house.task.cancel()
    await asyncio.wait([house.task])
    house.sandboxes[0].release()
    house.sandboxes[1].time_out()
    assert (await well).response.success
    assert (await badly).timed_out


async def test_an_idle_sandbox_holds_on_to_no_job(
    open_pool: Open, make_job: Callable[..., Any]
) -> None:
    house = await open_pool()
    for _ in range(2):
        job = make_job()
        await house.pool.submit(job)
        house.factory.calls.clear()
        await house.settle()
        held = [r for r in gc.get_referrers(job) if not inspect.isframe(r)]
        assert held == []


async def test_a_cancelled_pool_lets_go_of_its_jobs_and_close_still_destroys(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding())
    running = house.submit("a")
    await house.settle()
    house.factory.hold_creates = True
    starting = house.submit("b")
    await house.settle()
    house.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await house.task
    assert starting.cancelled()
    with pytest.raises(Unavailable):
        house.submit()
    await house.pool.close()
    assert running.cancelled()
    assert not house.factory.live
