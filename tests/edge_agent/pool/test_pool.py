"""The pool at work, under OpenWhisk's names where it has the same test."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import pytest

from edge_agent.model.activations import Answer, Cause, Gone, StartKind, Status
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.base import InitRequest, Ran, RunRequest
from edge_agent.sandbox.fake import FakeFactory, FakeSandbox
from edge_agent.settings import Pool as PoolSettings


class House(Protocol):
    """As conftest makes it."""

    pool: Pool
    factory: FakeFactory
    clock: Any
    task: asyncio.Task[None]
    missing: set[str]

    def submit(self, name: str = ..., **given: Any) -> asyncio.Future[Finished]: ...
    async def done(self, name: str = ..., **given: Any) -> Finished: ...
    async def settle(self) -> None: ...
    def asked(self, what: str) -> list[str]: ...
    def states(self) -> dict[str, int]: ...
    @property
    def sandboxes(self) -> list[FakeSandbox]: ...


Open = Callable[..., Awaitable[House]]


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


def error_of(finished: Finished) -> Any:
    return msgspec.json.decode(finished.response.result)["error"]


# --- scheduling ---------------------------------------------------------------------


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


# --- overtaking ---------------------------------------------------------------------


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


# --- blocking and others ------------------------------------------------------------


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


# --- how jobs end -------------------------------------------------------------------


async def test_times_are_those_of_waiting_init_and_run(open_pool: Open) -> None:
    house = await open_pool(factory=holding())
    house.factory.hold_inits = True
    future = house.submit()
    house.clock.pass_ms(7)
    await house.settle()
    start_ms = house.clock.wall_ms()
    house.clock.pass_ms(20)
    house.sandboxes[0].release()
    await house.settle()
    house.clock.pass_ms(300)
    house.sandboxes[0].release()
    finished = await future
    assert (finished.wait_ms, finished.init_ms, finished.run_ms) == (7, 20, 300)
    assert finished.start_ms == start_ms
    assert finished.level == "namespaces"


async def test_a_warm_start_has_no_init_time_and_only_its_own_logs(
    open_pool: Open,
) -> None:
    house = await open_pool()
    house.factory.said_to_init = Ran(Answer(b"{}"), logs=("loaded",))
    house.factory.said_to_run = Ran(Answer(b"{}"), logs=("ran",))
    cold, warm = await house.done(), await house.done()
    assert (cold.init_ms, cold.logs) == (0, ("loaded", "ran"))
    assert (warm.init_ms, warm.logs) == (None, ("ran",))


async def test_c2_to_c4_what_the_action_is_told(open_pool: Open) -> None:
    house = await open_pool()
    house.pool.api_host = "http://10.0.0.5:8080"
    sent_ms = house.clock.wall_ms()
    await house.done(
        package="pkg",
        activation_id="f" * 32,
        arguments=b'{"a":1}',
        environment={"GREETING": "hi"},
        exec_fields={"main": "start", "binary": True},
        limits={"timeout": 1500, "logs": 2},
    )
    init, run = house.factory.asked("init")[0], house.factory.asked("run")[0]
    assert init.request == InitRequest(
        name="hello",
        main="start",
        code="code of hello",
        binary=True,
        env={
            "GREETING": "hi",
            "__OW_API_HOST": "http://10.0.0.5:8080",
            "__OW_API_KEY": "u:k",
            "__OW_NAMESPACE": "guest",
            "__OW_ACTION_NAME": "/guest/pkg/hello",
            "__OW_ACTION_VERSION": "0.0.1",
            "__OW_ACTIVATION_ID": "f" * 32,
            "__OW_TRANSACTION_ID": "tid",
            "__OW_DEADLINE": str(sent_ms + 1500),
        },
    )
    assert run.request == RunRequest(
        b'{"a":1}',
        {
            "namespace": "guest",
            "action_name": "/guest/pkg/hello",
            "action_version": "0.0.1",
            "activation_id": "f" * 32,
            "transaction_id": "tid",
            "deadline": str(sent_ms + 1500),
            "api_key": "u:k",
        },
    )
    assert (run.timeout_s, run.logs_bytes) == (1.5, 2 << 20)
    assert (init.timeout_s, init.logs_bytes) == (1.5, 2 << 20)


async def test_c1_main_is_main_unless_it_is_given(open_pool: Open) -> None:
    house = await open_pool()
    await house.done()
    request = house.factory.asked("init")[0].request
    assert isinstance(request, InitRequest)
    assert (request.main, request.binary) == ("main", False)


async def test_c4_the_deadline_is_worked_out_anew_for_the_run(open_pool: Open) -> None:
    house = await open_pool()
    house.factory.hold_inits = True
    future = house.submit(limits={"timeout": 1000})
    await house.settle()
    house.clock.pass_ms(400)
    house.sandboxes[0].release()
    await future
    run = house.factory.asked("run")[0].request
    assert isinstance(run, RunRequest)
    assert run.context["deadline"] == str(house.clock.wall_ms() + 1000)


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({}, True),
        ({"provide-api-key": True}, True),
        ({"provide-api-key": "yes"}, True),
        ({"provide-api-key": False}, False),
        ({"provide-api-key": None}, False),
        ({"provide-api-key": 0}, False),
    ],
)
async def test_c4_the_key_is_given_unless_an_annotation_denies_it(
    open_pool: Open, annotations: dict[str, Any], told: bool
) -> None:
    house = await open_pool()
    await house.done(annotations=annotations)
    await house.done(annotations=annotations)
    for call in house.factory.asked("run"):
        assert isinstance(call.request, RunRequest)
        assert call.request.context.get("api_key") == ("u:k" if told else None)
    init = house.factory.asked("init")[0].request
    assert isinstance(init, InitRequest)
    assert ("__OW_API_KEY" in init.env) == told


@pytest.mark.parametrize(
    ("said", "status", "kept"),
    [
        (Answer(b'{"a":1}'), Status.SUCCESS, True),
        (Answer(b'{"error":"no"}'), Status.APPLICATION_ERROR, True),
        (Answer(b"3"), Status.DEVELOPER_ERROR, False),
        (Answer(b'{"error":"threw"}', ok=False), Status.DEVELOPER_ERROR, False),
        (Gone(Cause.TIMED_OUT), Status.DEVELOPER_ERROR, False),
        (Gone(Cause.EXITED), Status.DEVELOPER_ERROR, False),
        (Gone(Cause.OUT_OF_MEMORY), Status.DEVELOPER_ERROR, False),
    ],
)
async def test_d8_a_sandbox_is_kept_after_success_and_application_error_only(
    open_pool: Open, said: Answer | Gone, status: Status, kept: bool
) -> None:
    house = await open_pool()
    house.factory.said_to_run = said
    finished = await house.done()
    await house.settle()
    assert finished.response.code is status
    assert finished.timed_out == (said == Gone(Cause.TIMED_OUT))
    assert house.states() == ({"ready": 1} if kept else {})
    assert house.pool.view().used_mb == (256 if kept else 0)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (Answer(b'{"error":"syntax"}', ok=False), "syntax"),
        (
            Gone(Cause.EXITED),
            "The action did not initialize and exited unexpectedly.",
        ),
        (
            Gone(Cause.TIMED_OUT),
            (
                "The action exceeded its time limits of 60000 milliseconds "
                "during initialization."
            ),
        ),
    ],
)
async def test_c13_to_c15_a_failed_init_ends_the_job_without_a_run(
    open_pool: Open, said: Answer | Gone, text: str
) -> None:
    house = await open_pool()
    house.factory.said_to_init = Ran(said, logs=("broken",))
    finished = await house.done()
    await house.settle()
    assert finished.response.code is Status.DEVELOPER_ERROR
    assert error_of(finished) == text
    assert (finished.init_ms, finished.run_ms, finished.logs) == (0, 0, ("broken",))
    assert finished.timed_out == (said == Gone(Cause.TIMED_OUT))
    assert house.asked("run") == []
    assert house.states() == {}


async def test_c18_no_sandbox_is_a_whisk_error(open_pool: Open) -> None:
    house = await open_pool()
    house.factory.fail_creates = 1
    finished = await house.done()
    assert finished.response.code is Status.WHISK_ERROR
    assert error_of(finished) == "Failed to provision resources to run the action."
    assert house.states() == {}
    assert (await house.done()).response.success


async def test_a_job_in_the_queue_runs_after_a_failed_create(open_pool: Open) -> None:
    house = await open_pool(memory_mb=256)
    house.factory.fail_creates = 1
    first, second = house.submit("a"), house.submit("b")
    assert not (await first).response.success
    assert (await second).response.success


async def test_c19_an_action_deleted_meanwhile_is_an_application_error(
    open_pool: Open,
) -> None:
    house = await open_pool()
    house.missing.add("hello")
    finished = await house.done()
    await house.settle()
    assert finished.response.code is Status.APPLICATION_ERROR
    assert error_of(finished) == ("Action could not be found or may have been deleted.")
    assert house.states() == {}


async def test_c19_code_that_cannot_be_read_is_a_whisk_error(open_pool: Open) -> None:
    house = await open_pool()
    finished = await house.done("unreadable")
    assert finished.response.code is Status.WHISK_ERROR
    assert error_of(finished) == "Action could not be fetched."
    assert (await house.done()).response.success


# --- sandboxes that die -------------------------------------------------------------


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


# --- prewarming ---------------------------------------------------------------------


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


# --- memory, idle time, room --------------------------------------------------------


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


# --- beginning and end --------------------------------------------------------------


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
