"""The annotation `mqtt-result-topic`."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.events.base import BuiltinError, Outgoing
from edge_agent.events.results import outgoing_for, parse_annotation
from edge_agent.model.activations import (
    ActivationRecord,
    Response,
    Status,
    failure,
    success,
)


def record(response: Response | None = None) -> ActivationRecord:
    return ActivationRecord(
        namespace="guest",
        name="hello",
        version="0.0.1",
        subject="guest",
        activation_id="a" * 32,
        start=1,
        response=response or success(b'{"x": 1}'),
    )


def test_a_topic_is_enough() -> None:
    assert outgoing_for("out/{action}", record()) == Outgoing(
        id="a" * 32,
        namespace="guest",
        broker="",
        topic="out/hello",
        payload=b'{"x": 1}',
        qos=1,
        retain=False,
    )


def test_all_can_be_said_in_an_object() -> None:
    annotation = {
        "topic": "{status}/{activationId}",
        "qos": 0,
        "retain": True,
        "broker": "h:1",
    }
    failed = record(failure(Status.APPLICATION_ERROR, "no"))

    outgoing = outgoing_for(annotation, failed)

    assert isinstance(outgoing, Outgoing)
    assert outgoing.topic == f"application_error/{'a' * 32}"
    assert (outgoing.qos, outgoing.retain, outgoing.broker) == (0, True, "h:1")
    assert outgoing.payload == b'{"error":"no"}'


def test_without_annotation_nothing_is_published() -> None:
    assert outgoing_for(None, record()) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7, "expected a topic or an object, got 7"),
        ("", "topic '': is empty"),
        ("a/#", "'#' at character 3 is a wildcard"),
        ("a/{name}", "the fields are {action}, {rule}, {namespace}"),
        ({"qos": 1}, "topic: expected text, got None"),
        ({"topic": "a", "qos": "1"}, "qos: expected 0 or 1, got '1'"),
        ({"topic": "a", "retain": 1}, "retain: expected true or false, got 1"),
        ({"topic": "a", "broker": "a b"}, "broker: expected host:port"),
        ({"topic": "a", "broker": None}, "broker: expected host:port, got None"),
        ({"topic": "a", "x": 1}, "x: is not known here"),
    ],
)
def test_a_wrong_annotation_is_a_text_and_no_exception(
    value: Any, problem: str
) -> None:
    text = outgoing_for(value, record())

    assert isinstance(text, str)
    assert text.startswith("annotation mqtt-result-topic: ")
    assert problem in text
    with pytest.raises(BuiltinError):
        parse_annotation(value)


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (b'{"room": "hall"}', "heat/hall/r"),
        (b'{"room": 7}', "heat/7/r"),
        (b'{"room": "a/b"}', "heat/a/b/r"),
        (b'{"room": "#"}', "is a wildcard"),
        (b'{"room": [1]}', "{args.room} is neither text nor a number"),
        (b"{}", "{args.room} is neither text nor a number"),
    ],
)
def test_arguments_may_name_the_topic(arguments: bytes, topic: str) -> None:
    found = outgoing_for(
        "heat/{args.room}/{rule}", record(), rule="guest/r", arguments=arguments
    )

    text = found if isinstance(found, str) else found and found.topic
    assert text is not None
    assert topic in text
