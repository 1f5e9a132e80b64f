"""Which job runs where, under OpenWhisk's names where it has the same test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from edge_agent.model.activations import StartKind, Status
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished
from edge_agent.sandbox.base import RunRequest
from edge_agent.sandbox.fake import FakeFactory

Open = Callable[..., Awaitable[Any]]  # of the house that conftest makes


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


def error_of(finished: Finished) -> Any:
    return msgspec.json.decode(finished.response.result)["error"]


# --- scheduling -----------------------------------------------------------------------


async def test_reuse_a_warm_container(open_pool: Open) -> None:
    house = await open_pool()
    cold, warm = await house.done(), await house.done()
    assert (cold.start, warm.start) == (StartKind.COLD, StartKind.WARM)
    assert house.asked("run") == ["fake-1", "fake-1"]
    assert house.asked("init") == ["fake-1"]


async def test_the_container_used_last_is_reused(open_pool: Open) -> None:
    house = await open_pool(factory=holding())
    first, second = house.submit(), house.submit()
    await house.settle()
    house.sandboxes[1].release()
    house.sandboxes[0].release()
    await asyncio.gather(first, second)
    house.submit()
    assert house.asked("run")[-1] == "fake-1"


async def test_d9_not_reuse_a_warm_container_of_an_older_revision(
    open_pool: Open,
) -> None:
    house = await open_pool()
    await house.done()
    for other in ({"updated": 2}, {"version": "0.0.2"}, {"namespace": "other"}):
        finished = await house.done(**other)
        assert finished.start is StartKind.COLD
    assert house.states() == {"ready": 4}


async def test_create_a_container_if_it_cannot_find_a_matching_container(
    open_pool: Open,
) -> None:
    house = await open_pool(factory=holding())
    house.submit()
    house.submit()
    await house.settle()
    assert house.asked("run") == ["fake-1", "fake-2"]


async def test_remove_a_container_to_make_space_in_the_pool_if_it_is_already_full_and_a_different_action_arrives(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256)
    await house.done("a")
    finished = await house.done("b")
    assert finished.start is StartKind.COLD
    assert house.asked("destroy") == ["fake-1"]
    assert [c.what for c in house.factory.calls] == [
        *("create", "init", "run"),
        *("destroy", "create", "init", "run"),  # never both at once
    ]


async def test_remove_several_containers_to_make_space_in_the_pool_if_it_is_already_full_and_a_different_large_action_arrives(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=512)
    await house.done("a")
    await house.done("b")
    await house.done("large", memory=512)
    assert sorted(house.asked("destroy")) == ["fake-1", "fake-2"]


async def test_cache_a_container_if_there_is_still_space_in_the_pool(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=512)
    await house.done("a")
    await house.done("b")
    assert house.asked("destroy") == []
    await house.done("c")
    assert house.asked("destroy") == ["fake-1"]


async def test_remove_a_container_if_another_action_with_different_invocation_namespace_arrives(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256)
    await house.done("a", namespace="one")
    await house.done("a", namespace="two")
    assert house.asked("destroy") == ["fake-1"]


async def test_not_start_a_new_container_if_there_is_not_enough_space_in_the_pool(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    house.submit("a")
    large = house.submit("large", memory=512)
    await house.settle()
    assert house.asked("create") == ["fake-1"]
    house.sandboxes[0].release()
    await house.settle()
    house.sandboxes[1].release()
    assert (await large).start is StartKind.COLD


async def test_process_activations_in_the_order_they_are_arriving(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    house.submit("a")
    await house.settle()
    for name, memory in (("large", 512), ("b", 256), ("c", 256), ("d", 256)):
        house.submit(name, memory=memory)
    begun = ["a"]
    for _ in range(5):
        for sandbox in house.factory.busy:
            sandbox.release()
        await house.settle()
        begun += [
            str(c.request.context["action_name"]).removeprefix("/guest/")
            for c in house.factory.asked("run")[len(begun) :]
            if isinstance(c.request, RunRequest)
        ]
    assert begun == ["a", "large", "b", "c", "d"]


async def test_not_reuse_a_container_which_is_scheduled_for_deletion(
    open_pool: Open,
) -> None:
    house = await open_pool()
    await house.done()
    house.sandboxes[0].die()
    assert (await house.done()).start is StartKind.COLD
    await house.settle()
    assert house.states() == {"ready": 1}


async def test_one_activation_per_sandbox_at_a_time(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    futures = [house.submit() for _ in range(5)]
    await house.settle()
    for n in range(5):
        assert len(house.factory.busy) == 1
        house.factory.busy[0].release()
        await futures[n]
        await house.settle()
    assert house.asked("create") == ["fake-1"]


async def test_an_action_greater_than_the_pool_is_a_whisk_error(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256)
    finished = await house.done(memory=512)
    assert finished.response.code is Status.WHISK_ERROR
    assert "needs 512 MB" in error_of(finished)
    assert house.pool.view().active == 0


async def test_a_kind_without_a_runtime_is_a_whisk_error(open_pool: Open) -> None:
    house = await open_pool()
    finished = await house.done(kind="cobol:60")
    assert finished.response.code is Status.WHISK_ERROR
    assert error_of(finished) == "This node has no runtime for the kind 'cobol:60'."


async def test_a_kind_is_made_concrete(open_pool: Open) -> None:
    house = await open_pool()
    await house.done(kind="python:default")
    assert house.sandboxes[0].spec.kind == "python:3.11"


# --- overtaking -----------------------------------------------------------------------


async def test_two_actions_that_share_a_full_pool_do_not_evict_each_other_each_time(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    futures = [house.submit(name) for name in "abababab"]
    await house.settle()
    while not all(f.done() for f in futures):
        house.factory.busy[0].release()
        await house.settle()
    assert house.asked("create") == ["fake-1", "fake-2"]


async def test_a_head_that_waits_for_memory_is_not_delayed_by_long_runs(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    house.submit("long")
    await house.settle()
    head, later = house.submit("head"), house.submit("long")
    house.clock.pass_ms(10_000)
    house.sandboxes[0].release()
    await house.settle()
    assert house.asked("destroy") == ["fake-1"]
    house.sandboxes[1].release()
    await head
    assert not later.done()


async def test_a_head_that_waits_for_memory_is_overtaken_for_a_bounded_time(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    house.submit("short")
    await house.settle()
    house.submit("head")
    for _ in range(10):
        house.submit("short")
    overtakers = -1
    while not house.asked("destroy"):
        house.clock.pass_ms(30)
        house.factory.busy[0].release()
        await house.settle()
        overtakers += 1
    assert overtakers == 3


async def test_who_needs_no_memory_goes_on_while_room_is_made_for_the_head(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    for name in "ab":
        house.submit(name)
    await house.settle()
    for sandbox in house.sandboxes:
        sandbox.release()
    await house.settle()
    house.submit("head")  # evicts a, the oldest
    house.submit("b")
    assert house.asked("run") == ["fake-1", "fake-2", "fake-2"]


# --- blocking and others --------------------------------------------------------------


async def test_a_blocking_job_does_not_wait_behind_all_events(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    events = [house.submit() for _ in range(20)]
    await house.settle()
    call = house.submit(blocking=True)
    house.factory.busy[0].release()
    await house.settle()
    house.factory.busy[0].release()
    await asyncio.wait_for(call, 1)
    assert sum(f.done() for f in events) == 1


async def test_events_run_even_under_a_stream_of_blocking_jobs(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    house.submit(blocking=True)
    event = house.submit()
    await house.settle()
    runs = 0
    while not event.done():
        house.submit(blocking=True)
        house.factory.busy[0].release()
        await house.settle()
        runs += 1
    assert runs <= 6


async def test_a_full_queue_is_unavailable_and_nothing_is_accepted(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, queue_jobs=2, factory=holding())
    kept = [house.submit(blocking=True) for _ in range(3)]
    with pytest.raises(Unavailable):
        house.submit(blocking=True)
    await house.settle()
    for _ in kept:
        house.factory.busy[0].release()
        await house.settle()
    assert all(f.done() for f in kept)
    assert len(house.asked("run")) == 3


async def test_a_job_whose_caller_gave_up_while_it_waited_is_not_run(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    house.submit()
    gone, next_one = house.submit(), house.submit()
    await house.settle()
    gone.cancel()
    house.factory.busy[0].release()
    await house.settle()
    house.factory.busy[0].release()
    await next_one
    assert len(house.asked("run")) == 2


async def test_one_that_would_overtake_is_not_run_when_its_caller_gave_up(
    open_pool: Open,
) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    house.submit("short")
    await house.settle()
    house.submit("head")
    gone, kept = house.submit("short"), house.submit("short")
    gone.cancel()
    house.factory.busy[0].release()
    await house.settle()
    house.factory.busy[0].release()
    await kept
    assert len(house.asked("run")) == 2


# --- memory, idle time, room ----------------------------------------------------------


async def test_idle_sandboxes_are_removed_after_their_time(open_pool: Open) -> None:
    house = await open_pool(idle_s=0.5, prewarm={"nodejs:20": 1})
    await house.done("old")
    house.clock.pass_ms(400)
    await house.done("young")
    house.clock.pass_ms(101)
    await asyncio.sleep(0.12)
    assert house.asked("destroy") == ["fake-2"]
    assert house.states() == {"ready": 1, "prewarmed": 1}


async def test_shrinking_evicts_idle_sandboxes_at_once(open_pool: Open) -> None:
    house = await open_pool(memory_mb=1024)
    for name in "abcd":
        await house.done(name)
    house.pool.set_memory_mb(512)
    await house.settle()
    assert house.asked("destroy") == ["fake-1", "fake-2"]
    assert house.pool.view().used_mb == 512
    assert house.pool.slots == 2


async def test_shrinking_takes_busy_sandboxes_as_they_end(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    futures = [house.submit(name) for name in "ab"]
    await house.settle()
    house.pool.set_memory_mb(256)
    await house.settle()
    assert house.states() == {"running": 2}
    for sandbox in house.sandboxes:
        sandbox.release()
        await house.settle()
    assert all(f.result().response.success for f in futures)
    assert house.states() == {"ready": 1}


async def test_a_queued_job_that_no_longer_fits_is_refused(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    house.submit("a")
    large = house.submit("large", memory=512)
    house.pool.set_memory_mb(256)
    assert "needs 512 MB" in error_of(await asyncio.wait_for(large, 1))


async def test_growing_lets_the_queue_go_on(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256, factory=holding())
    for name in "abc":
        house.submit(name)
    await house.settle()
    assert len(house.factory.busy) == 1
    house.pool.set_memory_mb(768)
    await house.settle()
    assert len(house.factory.busy) == 3


async def test_room_is_told_when_a_job_ends(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    free: list[int] = []
    house.pool.on_room = lambda: free.append(house.pool.free_slots())
    assert house.pool.free_slots() == 2
    house.submit()
    house.submit()
    house.submit()
    await house.settle()
    assert house.pool.free_slots() == 0
    for _ in range(3):
        house.factory.busy[0].release()
        await house.settle()
    assert free == [0, 1, 2]


async def test_whoever_is_told_of_room_may_submit_at_once(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512)
    futures: list[asyncio.Future[Finished]] = []

    def fill() -> None:
        while len(futures) < 50 and house.pool.free_slots():
            futures.append(house.submit(f"a{len(futures) % 3}"))

    house.pool.on_room = fill
    fill()
    while len(futures) < 50:
        await asyncio.sleep(0)
    done = await asyncio.wait_for(asyncio.gather(*futures), 5)
    assert all(f.response.success for f in done)


async def test_the_view_counts_what_there_is(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512, factory=holding())
    for blocking in (True, True, True, False):
        house.submit(blocking=blocking, arguments=b"12345")
    await house.settle()
    view = house.pool.view()
    assert (view.slots, view.active, view.memory_mb, view.used_mb) == (2, 2, 512, 512)
    assert (view.queued, view.queued_blocking, view.queued_bytes) == (2, 1, 10)
    assert house.states() == {"running": 2}
