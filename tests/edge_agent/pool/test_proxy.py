"""What a job is told, how long it took and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from edge_agent.model.activations import Answer, Cause, Gone, Status
from edge_agent.model.jobs import Finished
from edge_agent.sandbox.base import InitRequest, Ran, RunRequest
from edge_agent.sandbox.fake import FakeFactory

Open = Callable[..., Awaitable[Any]]  # of the house that conftest makes


def holding() -> FakeFactory:
    factory = FakeFactory()
    factory.hold_runs = True
    return factory


def error_of(finished: Finished) -> Any:
    return msgspec.json.decode(finished.response.result)["error"]


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


async def test_c2_c3_c4_c5_what_the_action_is_told(open_pool: Open) -> None:
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


async def test_a90_after_a_time_out_the_next_run_has_a_fresh_sandbox(
    open_pool: Open,
) -> None:
    house = await open_pool()
    house.factory.said_to_run = Gone(Cause.TIMED_OUT)
    await house.done()
    house.factory.said_to_run = Answer(b"{}")
    finished = await house.done()
    assert finished.response.success
    assert len(set(house.asked("run"))) == 2
    await house.settle()
    assert house.states() == {"ready": 1}


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
