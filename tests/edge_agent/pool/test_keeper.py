"""Sandboxes that die, and those that stand prewarmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from edge_agent.model.activations import Answer, Cause, Gone, StartKind, Status
from edge_agent.model.jobs import Finished
from edge_agent.sandbox.base import ActionToBlame
from edge_agent.sandbox.fake import FakeFactory

Open = Callable[..., Awaitable[Any]]  # of the house that conftest makes


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


def error_of(finished: Finished) -> Any:
    return msgspec.json.decode(finished.response.result)["error"]


# --- sandboxes that die ---------------------------------------------------------------


async def test_an_idle_sandbox_that_dies_is_removed(open_pool: Open) -> None:
    house = await open_pool()
    await house.done()
    house.sandboxes[0].die()
    await house.settle()
    assert house.states() == {}
    assert house.asked("destroy") == ["fake-1"]
    assert house.pool.view().used_mb == 0


async def test_a_sandbox_that_dies_as_it_answers_is_removed(open_pool: Open) -> None:
    house = await open_pool(factory=holding())
    future = house.submit()
    await house.settle()
    house.sandboxes[0].exited.set_result(None)
    house.sandboxes[0].release(Answer(b"{}"))
    assert (await future).response.success
    await house.settle()
    assert house.states() == {}


async def test_a_run_that_may_have_been_read_is_not_run_twice(open_pool: Open) -> None:
    house = await open_pool(factory=holding())
    future = house.submit()
    await house.settle()
    house.sandboxes[0].die()
    assert not (await future).response.success
    assert len(house.asked("run")) == 1


@pytest.mark.parametrize("step", ["said_to_init", "said_to_run"])
async def test_a_job_that_certainly_was_not_read_is_given_to_another_sandbox(
    open_pool: Open, step: str
) -> None:
    house = await open_pool()
    setattr(house.factory, step, Gone(Cause.EXITED, unread=True))
    future = house.submit()
    while not house.sandboxes:
        await asyncio.sleep(0)
    setattr(house.factory, step, Answer(b"{}"))
    assert (await future).response.success
    assert house.asked("init") == ["fake-1", "fake-2"]
    await house.settle()
    assert house.states() == {"ready": 1}


async def test_a_job_that_no_sandbox_reads_ends_at_the_second_one(
    open_pool: Open,
) -> None:
    house = await open_pool()
    house.factory.said_to_run = Gone(Cause.EXITED, unread=True)
    finished = await house.done()
    assert finished.response.code is Status.DEVELOPER_ERROR
    assert house.asked("run") == ["fake-1", "fake-2"]


async def test_reschedule_job_when_container_is_removed_prematurely(
    open_pool: Open,
) -> None:
    """The sandbox dies between its start and the init."""
    house = await open_pool()
    house.factory.hold_creates = True
    future = house.submit()
    await house.settle()
    house.factory.release_creates()
    house.factory.hold_creates = False
    while not house.sandboxes:
        await asyncio.sleep(0)
    house.sandboxes[0].die()
    finished = await asyncio.wait_for(future, 1)
    assert finished.response.success
    assert house.asked("init") == ["fake-2"]


async def test_a_job_is_put_back_once_only(open_pool: Open) -> None:
    house = await open_pool()
    house.factory.hold_creates = True
    future = house.submit()
    for n in (1, 2):
        await house.settle()
        house.factory.release_creates()
        while len(house.sandboxes) < n:
            await asyncio.sleep(0)
        house.sandboxes[-1].die()
    finished = await asyncio.wait_for(future, 1)
    assert error_of(finished) == "Failed to provision resources to run the action."
    assert house.asked("init") == []


async def test_c17_an_image_that_cannot_be_had_is_the_actions_error(
    open_pool: Open,
) -> None:
    """C17; without an action to blame it is C18."""
    factory = FakeFactory(kinds=("blackbox:us/ours:1",))
    factory.fail_creates = 1
    factory.fail_with = ActionToBlame("Failed to pull container image 'us/ours:1'.")
    house = await open_pool(factory=factory)
    image = {"image": "us/ours:1"}
    finished = await house.done(kind="blackbox", exec_fields=image)
    assert finished.response.status == "action developer error"
    assert error_of(finished) == "Failed to pull container image 'us/ours:1'."
    again = await house.done(kind="blackbox", exec_fields=image)
    assert again.response.success


# --- prewarming -----------------------------------------------------------------------


async def test_create_prewarmed_containers_on_startup(open_pool: Open) -> None:
    house = await open_pool(prewarm={"python:default": 2, "nodejs:20": 1})
    await house.settle()
    assert house.states() == {"prewarmed": 3}
    kinds = sorted(s.spec.kind for s in house.sandboxes)
    assert kinds == ["nodejs:20", "python:3.11", "python:3.11"]
    assert {s.spec.memory_mb for s in house.sandboxes} == {256}
    assert house.pool.view().used_mb == 768


async def test_use_a_prewarmed_container_and_create_a_new_one_to_fill_its_place(
    open_pool: Open,
) -> None:
    house = await open_pool(prewarm={"python:3.11": 1})
    await house.settle()
    finished = await house.done()
    await house.settle()
    assert finished.start is StartKind.PREWARMED
    assert house.asked("run") == ["fake-1"]
    assert house.states() == {"ready": 1, "prewarmed": 1}


async def test_a_replacement_waits_for_the_job_while_another_stands_ready(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=1024, prewarm={"python:default": 2})
    await house.settle()
    for sandbox in house.sandboxes:
        sandbox.hold_runs = True
    job = house.submit()
    await house.settle()
    assert len(house.factory.asked("create")) == 2
    house.factory.busy[0].release()
    assert (await job).start is StartKind.PREWARMED
    await house.settle()
    assert len(house.factory.asked("create")) == 3


@pytest.mark.parametrize("given", [{"kind": "nodejs:20"}, {"memory": 128}])
async def test_not_use_a_prewarmed_container_if_it_doesnt_fit(
    open_pool: Open, given: dict[str, Any]
) -> None:
    house = await open_pool(prewarm={"python:3.11": 1})
    await house.settle()
    finished = await house.done(**given)
    assert finished.start is StartKind.COLD
    assert house.asked("run") == ["fake-2"]


async def test_prewarming_takes_only_memory_that_no_job_waits_for(
    open_pool: Open,
) -> None:
    house = await open_pool(
        memory_mb=512, prewarm={"python:3.11": 1}, factory=holding()
    )
    await house.settle()
    futures = [house.submit(name) for name in "abc"]
    await house.settle()
    assert house.states() == {"running": 2}
    for sandbox in house.factory.busy:
        sandbox.release()
    await house.settle()
    house.factory.busy[0].release()
    await asyncio.gather(*futures)
    assert house.pool.view().used_mb <= 512


async def test_prewarming_takes_nothing_from_a_head_that_waits_for_more(
    open_pool: Open,
) -> None:
    factory = holding()
    factory.fail_creates = 1
    house = await open_pool(prewarm={"nodejs:20": 1}, memory_mb=1024, factory=factory)
    await house.settle()
    house.submit("busy", memory=512)
    house.submit("short")
    house.submit("head", memory=512)
    house.clock.pass_ms(11_000)
    house.pool.made_room()
    await house.settle()
    assert house.states() == {"running": 2}
    house.factory.busy[1].release()
    await house.settle()
    assert house.states() == {"running": 2}
    assert house.asked("destroy") == ["fake-3"]


async def test_a_prewarmed_sandbox_that_dies_is_not_replaced_in_a_loop(
    open_pool: Open,
) -> None:
    house = await open_pool(idle_s=0.5, prewarm={"python:3.11": 1})
    await house.settle()
    house.sandboxes[0].die()
    await asyncio.sleep(0.1)
    assert house.states() == {}
    house.clock.pass_ms(11_000)
    await asyncio.sleep(0.1)
    assert house.states() == {"prewarmed": 1}


async def test_a_failing_prewarm_is_not_repeated_in_a_loop(open_pool: Open) -> None:
    factory = FakeFactory()
    factory.fail_creates = 1000
    house = await open_pool(idle_s=0.5, prewarm={"python:3.11": 1}, factory=factory)
    await asyncio.sleep(0.15)
    assert len(house.asked("create")) == 1


async def test_a_prewarmed_kind_that_nothing_serves_is_left_out(
    open_pool: Open,
) -> None:
    house = await open_pool(prewarm={"cobol:60": 2, "python:3": 1})
    await house.settle()
    assert house.states() == {"prewarmed": 1}


# --- retiring -------------------------------------------------------------------------


async def test_retiring_all_ends_what_stands_idle_or_prewarmed(
    open_pool: Open,
) -> None:
    house = await open_pool(prewarm={"nodejs:20": 1})
    await house.done()
    await house.settle()
    old = list(house.sandboxes)
    assert len(old) == 2
    house.pool.retire_all()
    await house.settle()
    assert all(sandbox.destroyed for sandbox in old)
    assert house.states() == {"prewarmed": 1}  # another in its place
    assert (await house.done()).start is StartKind.COLD


async def test_what_runs_when_all_are_retired_runs_on_and_is_not_kept(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding())
    running = house.submit()
    await house.settle()
    house.pool.retire_all()
    await house.settle()
    assert not house.sandboxes[0].destroyed
    house.sandboxes[0].release()
    assert (await running).response.success
    await house.settle()
    assert house.sandboxes[0].destroyed
    assert house.states() == {}


async def test_one_that_is_being_made_when_all_are_retired_serves_its_job_alone(
    open_pool: Open,
) -> None:
    house = await open_pool(prewarm={"nodejs:20": 1})
    await house.settle()
    house.factory.hold_creates = True
    job = house.submit()
    await house.settle()
    house.pool.retire_all()
    house.factory.hold_creates = False
    house.factory.release_creates()
    assert (await job).response.success
    await house.settle()
    assert house.states() == {"prewarmed": 1}
