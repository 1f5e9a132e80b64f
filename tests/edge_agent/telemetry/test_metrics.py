from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from edge_agent.model.activations import (
    Answer,
    StartKind,
    Status,
    failure,
    read_coded_run,
    success,
)
from edge_agent.model.entities import Action, Exec
from edge_agent.model.jobs import Composed, Finished, Identity, Job
from edge_agent.telemetry import metrics as metrics_module
from edge_agent.telemetry.exposition import Family, Histogram, labels, write
from edge_agent.telemetry.metrics import Metrics

JOB = Job(
    activation_id="0" * 32,
    action=Action(
        namespace="guest/pkg",
        name="a",
        version="0.0.1",
        exec=Exec(kind="python:3.11"),
    ),
    identity=Identity(subject="guest", namespace="other", uuid="", key=""),
    arguments=b"{}",
    accepted_ns=0,
    accepted_ms=0,
    transaction_id="t",
)
WARM = Finished(
    response=success(b"{}", size=2),
    start_ms=0,
    wait_ms=5,
    run_ms=20,
    start=StartKind.WARM,
    level="namespaces",
)
OF_A = 'namespace="guest",initiator="other",action="pkg/a"'


def named(name: str) -> Job:
    return replace(JOB, action=replace(JOB.action, name=name))


async def lines_of(families: Iterable[Family]) -> dict[str, str]:
    text = await write(families, fixed="")
    return dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"statusCode": 201, "body": "x"}, 201),
        ({"error": {"statusCode": 404}}, 404),
        ({"error": "no", "statusCode": 503}, 503),
        ({"error": {"statusCode": 410}, "statusCode": 503}, 410),
        ({"statusCode": "200"}, 400),
        ({"statusCode": 700}, 400),
        ({"statusCode": True}, 400),
        ({"body": {"statusCode": 200}}, 0),
        ({}, 0),
        ([{"statusCode": 200}], 0),
    ],
)
def test_e8_the_status_code_of_a_result_is_found(result: object, code: int) -> None:
    said = Answer(json.dumps(result).encode())

    _, found = read_coded_run(said, timeout_ms=1, response_limit=1 << 20)

    assert found == code


async def test_e8_status_codes_are_counted() -> None:
    metrics = Metrics()
    for code in (200, 200, 404, 0):
        metrics.ended(JOB, replace(WARM, status_code=code))

    lines = await lines_of(metrics.families())

    name = f"openwhisk_action_status_code{{{OF_A},status_code="
    assert {k: v for k, v in lines.items() if k.startswith(name)} == {
        f'{name}"200"}}': "2",
        f'{name}"404"}}': "1",
    }


async def test_e10_refusals_are_counted_by_namespace() -> None:
    metrics = Metrics()
    for rate in (True, True, False):
        metrics.refused("guest", rate=rate)

    lines = await lines_of(metrics.families())

    assert lines['openwhisk_action_limit_timed_total{namespace="guest"}'] == "2"
    assert lines['openwhisk_action_limit_concurrent_total{namespace="guest"}'] == "1"
    assert lines["openwhisk_userevents_global_metric_total{}"] == "3"


async def test_e14_the_sums_of_all_actions_have_their_own_names() -> None:
    metrics = Metrics()
    metrics.ended(named("a"), WARM)
    metrics.ended(named("b"), replace(WARM, init_ms=300, start=StartKind.COLD))
    failed = failure(Status.DEVELOPER_ERROR, "no")
    metrics.ended(named("b"), replace(WARM, response=failed))

    lines = await lines_of(metrics.families())

    name = "openwhisk_userevents_global"
    assert lines[f"{name}_activations_total{{}}"] == "3"
    assert lines[f"{name}_coldStarts_total{{}}"] == "1"
    assert lines[f'{name}_status_total{{status="success"}}'] == "2"
    assert lines[f'{name}_status_total{{status="action_developer_error"}}'] == "1"
    assert lines[f'{name}_status_total{{status="failure"}}'] == "1"
    assert lines[f"{name}_duration_seconds_count{{}}"] == "3"
    assert lines[f"{name}_duration_seconds_sum{{}}"] == "0.36"
    assert lines[f"{name}_initTime_seconds_sum{{}}"] == "0.3"
    assert lines[f"{name}_waitTime_seconds_count{{}}"] == "3"
    assert lines["openwhisk_userevents_consumer_lag{}"] == "0"
    of_namespace = 'openwhisk_namespace_activations_total{namespace="other"'
    assert lines[f'{of_namespace},initiator="other"}}'] == "3"


async def test_e14_what_is_forgotten_stays_in_the_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_module, "ACTIONS_MOST", 2)
    metrics = Metrics()
    for name in "abcde":
        metrics.ended(named(name), WARM)

    lines = await lines_of(metrics.families())

    shown = [k for k in lines if k.startswith("openwhisk_action_activations_total")]
    assert len(shown) == 2
    assert lines["openwhisk_userevents_global_activations_total{}"] == "5"
    of_namespace = 'openwhisk_namespace_activations_total{namespace="other"'
    assert lines[f'{of_namespace},initiator="other"}}'] == "5"


async def test_e15_starts_go_by_upstreams_states_and_a_sequence_has_none() -> None:
    metrics = Metrics()
    composed = Composed(end_ms=9, memory_mb=256, conductor=False)
    metrics.ended(JOB, WARM)
    metrics.ended(JOB, replace(WARM, start=StartKind.PREWARMED, init_ms=1))
    metrics.ended(JOB, replace(WARM, start=StartKind.COLD, init_ms=1))
    metrics.ended(named("s"), replace(WARM, level="", composed=composed))

    lines = await lines_of(metrics.families())

    name = "counter_invoker_containerStart_counter_total"
    assert {k: v for k, v in lines.items() if k.startswith(name)} == {
        f'{name}{{{OF_A},containerState="{state}"}}': "1"
        for state in ("warmed", "prewarmed", "cold")
    }


async def test_e18_e19_the_invokers_and_the_controllers_times_are_told() -> None:
    metrics = Metrics()
    composed = Composed(end_ms=9, memory_mb=256, conductor=False)
    metrics.ended(replace(JOB, blocking=True), replace(WARM, init_ms=100))
    metrics.ended(replace(JOB, blocking=True, cause="1" * 32), WARM)
    metrics.ended(JOB, replace(WARM, composed=composed))
    metrics.accepted(0.004)
    metrics.commits.add(0.002)
    metrics.http["GET", 200] += 2
    metrics.http["POST", 404] += 1

    lines = await lines_of(metrics.families())

    for name, count, total in (
        ("invoker_activationRun", 2, "0.04"),
        ("invoker_activationInit", 1, "0.1"),
        ("controller_blockingActivation", 1, "0.125"),
        ("controller_activation", 1, "0.004"),
        ("database_saveDocumentBulk", 1, "0.002"),
    ):
        name = f"histogram_{name}_finish_seconds"  # noqa: PLW2901
        assert lines[f"{name}_count{{}}"] == str(count)
        assert lines[f"{name}_sum{{}}"] == total
    acknowledged = 'completionAck_counter_total{controller_id="0",type="regular"}'
    assert lines[f"counter_loadbalancer_{acknowledged}"] == "3"
    assert lines['counter_http_get_counter_total{statusCode="200"}'] == "2"
    assert lines['counter_http_post_counter_total{statusCode="404"}'] == "1"


async def test_e6_e11_buckets_are_upstreams_and_cumulative() -> None:
    metrics = Metrics()
    metrics.ended(JOB, replace(WARM, wait_ms=5))
    metrics.ended(JOB, replace(WARM, wait_ms=60))
    metrics.ended(JOB, replace(WARM, wait_ms=99_000))

    lines = await lines_of(metrics.families())

    def buckets(name: str) -> dict[str, str]:
        start = f'openwhisk_action_{name}_bucket{{{OF_A},le="'
        return {k[len(start) : -2]: v for k, v in lines.items() if k.startswith(start)}

    assert buckets("waitTime_seconds") == {
        **dict.fromkeys(("0.005", "0.01", "0.025", "0.05"), "1"),
        **dict.fromkeys(("0.075", "0.1", "0.25", "0.5", "0.75", "1"), "2"),
        **dict.fromkeys(("2.5", "5", "7.5", "10"), "2"),
        "+Inf": "3",
    }
    sizes = buckets("response_size_bytes")
    assert list(sizes) == [*(str(n << 20) for n in range(10)), "+Inf"]
    assert sizes["0"] == "0"
    assert sizes["1048576"] == "3"


async def test_a_label_may_hold_any_text() -> None:
    family = Family("x", "gauge", "", [(labels(a='q"\\\n'), 1.0)])

    text = await write([family], fixed=labels(region="é"))

    assert text.splitlines()[-1] == 'x{region="é",a="q\\"\\\\\\n"} 1'


async def test_a_scrape_of_very_many_actions_lets_the_loop_go_on() -> None:
    turns = 0

    def families() -> Iterable[Family]:
        yield Family("x", "histogram", "", (("", Histogram()) for _ in range(500)))

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(count())
    await write(families(), fixed="")
    task.cancel()

    assert turns >= 5
