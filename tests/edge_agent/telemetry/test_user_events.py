from __future__ import annotations

import msgspec
from msgspec.structs import replace

from edge_agent.model.activations import (
    ActivationRecord,
    StartKind,
    Status,
    failure,
    success,
)
from edge_agent.model.entities import Action, Exec
from edge_agent.model.jobs import Composed, Finished, Identity, Job, make_record
from edge_agent.telemetry.user_events import encode, event_of

JOB = Job(
    activation_id="0" * 32,
    action=Action(
        namespace="guest/pkg", name="a", version="0.0.1", exec=Exec(kind="python:3.11")
    ),
    identity=Identity(subject="sub", namespace="guest", uuid="u", key="k"),
    arguments=b"{}",
    accepted_ns=0,
    accepted_ms=0,
    transaction_id="t",
)
ENDED = Finished(
    response=success(b'{"statusCode":201}', size=18),
    start_ms=1_700_000_000_000,
    wait_ms=5,
    run_ms=3,
    start=StartKind.WARM,
)


def told(record: ActivationRecord) -> dict[str, object] | None:
    event = event_of(record, user_id="u")
    found: dict[str, object] | None = msgspec.json.decode(encode(event))
    return found


def test_e13_an_activation_is_told_as_upstream_tells_it() -> None:
    assert told(make_record(JOB, ENDED)) == {
        "body": {
            "name": "guest/pkg/a",
            "activationId": "0" * 32,
            "statusCode": 0,
            "duration": 3,
            "waitTime": 5,
            "initTime": 0,
            "kind": "python:3.11",
            "conductor": False,
            "memory": 256,
            "size": 18,
            "userDefinedStatusCode": 201,
        },
        "eventType": "Activation",
        "source": "invoker0",
        "subject": "sub",
        "namespace": "guest",
        "userId": "u",
        "timestamp": 1_700_000_000_003,
    }


def test_e13_a_component_and_a_failure_say_so() -> None:
    job = replace(JOB, cause="1" * 32)
    failed = failure(Status.DEVELOPER_ERROR, "no")
    record = make_record(job, replace(ENDED, response=failed, init_ms=7))
    found = told(record)

    assert found is not None
    body = found["body"]
    assert isinstance(body, dict)
    assert (body["causedBy"], body["statusCode"], body["initTime"]) == (
        "sequence",
        2,
        7,
    )
    assert "userDefinedStatusCode" not in body
    assert "size" not in body


def test_e13_a_composition_is_a_conductor() -> None:
    composed = Composed(end_ms=1_700_000_000_009, memory_mb=512, conductor=True)
    found = told(make_record(JOB, replace(ENDED, composed=composed)))

    assert found is not None
    body = found["body"]
    assert isinstance(body, dict)
    assert (body["conductor"], body["memory"], body["kind"]) == (True, 512, "sequence")


def test_a_trigger_is_not_told() -> None:
    record = ActivationRecord(
        namespace="guest",
        name="t",
        version="0.0.1",
        subject="guest",
        activation_id="0" * 32,
        start=1,
        response=success(b"{}"),
    )

    assert event_of(record, user_id="") is None
