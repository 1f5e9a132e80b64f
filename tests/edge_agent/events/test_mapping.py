"""A feed's parameters, and what a trigger is fired with."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.base import ConfigError
from edge_agent.events.mapping import (
    Address,
    Encoding,
    parse_config,
    trigger_payload,
)
from edge_agent.events.packets import Message, Properties
from edge_agent.model.errors import BuiltinError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def parse(**given: Any) -> Any:
    return parse_config(given, namespace="n", own={"broker": "10.0.0.1:1883"})


def test_only_the_topic_is_required() -> None:
    config = parse(topic="a/+")

    assert config.shown() == {
        "topic": "a/+",
        "broker": "10.0.0.1:1883",
        "qos": 1,
        "retained": "first",
        "respond": True,
        "payload": "auto",
    }


def test_qos_2_is_made_1_and_says_so() -> None:
    config = parse(topic="a", qos=2)

    assert config.qos == 1
    assert config.shown()["note"].startswith("qos 2 is made 1")


def test_the_password_is_never_shown() -> None:
    config = parse(topic="a", username="u", password="hush")

    assert "hush" not in str(config.shown())
    assert "hush" not in repr(config.identity)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "topic: is missing"),
        ({"topic": None}, "topic: is missing"),
        ({"topic": "a/#/b"}, "topic filter 'a/#/b': level 2"),
        ({"topic": 7}, "topic filter 7: must be text"),
        ({"topic": "a", "qos": 3}, "qos: expected 0, 1 or 2, got 3"),
        ({"topic": "a", "qos": True}, "qos: expected 0, 1 or 2, got True"),
        ({"topic": "a", "qos": "1"}, "qos: expected 0, 1 or 2, got '1'"),
        ({"topic": "a", "payload": "xml"}, "payload: expected one of json, text"),
        ({"topic": "a", "payload": {}}, "payload: expected one of json, text"),
        ({"topic": "a", "broker": 1}, "broker: expected host:port, got 1"),
        ({"topic": "a", "broker": "h:99999"}, "broker: the port of 'h:99999'"),
        ({"topic": "a", "broker": "h:x"}, "broker: the port of 'h:x'"),
        ({"topic": "a", "broker": "ws://h"}, "broker: ws:// is not supported"),
        ({"topic": "a", "broker": "u:p@h"}, "broker: holds a user name"),
        ({"topic": "a", "broker": "h,h"}, "broker: names a broker twice"),
        ({"topic": "a", "broker": []}, "broker: expected 1 to 8"),
        ({"topic": "a", "broker": "h,mqtts://i"}, "broker: mixes brokers"),
        ({"topic": "a/{b c}"}, "topic 'a/{b c}': 'b c' is no name"),
        ({"topic": "a/{qos}"}, "topic 'a/{qos}': 'qos' has a meaning already"),
        ({"topic": "{a}/{a}"}, "topic '{a}/{a}': 'a' is there twice"),
        ({"topic": "a", "filter": "a ||"}, "filter: 'a ||': "),
        ({"topic": "a", "filter": 1}, "filter: expected a JMESPath expression"),
        ({"topic": "a", "filter": "(" * 1024}, "filter: "),
        ({"topic": "a", "projection": "x" * 2000}, "projection: may have 1024"),
        ({"topic": "a", "dedup": "payload"}, "dedup: expected {key, window_ms}"),
        ({"topic": "a", "dedup": {"key": "a"}}, "dedup.window_ms: expected 1 to"),
        ({"topic": "a", "throttle": 0}, "throttle: expected 1 to"),
        ({"topic": "a", "throttle": {"ms": 1, "by": "x"}}, "throttle.by: expected"),
        ({"topic": "a", "debounce": "1"}, "debounce: expected 1 to"),
        ({"topic": "a", "batch": 5}, "batch: expected {size, ms}"),
        ({"topic": "a", "batch": {"size": 0, "ms": 1}}, "batch.size: expected"),
        (
            {
                "topic": "a",
                "batch": {"size": 2, "ms": 1},
                "dedup": {"key": "a", "window_ms": 1},
            },
            "dedup: does not go with batch",
        ),
        ({"topic": "a", "retained": "no"}, "retained: expected one of ignore, first"),
        ({"topic": "a", "respond": 1}, "respond: expected true or false"),
        ({"topic": "a", "version": 3}, "version: expected auto, 5 or 3.1.1"),
        ({"topic": "a", "version": True}, "version: expected auto, 5 or 3.1.1"),
        ({"topic": "a", "client_id": ""}, "client_id: expected text"),
        ({"topic": "a", "session_expiry_s": -1}, "session_expiry_s: expected a whole"),
        ({"topic": "a", "keepalive_s": 99999}, "keepalive_s: expected a whole"),
        ({"topic": "a", "tls": 1}, "tls: expected an object"),
        ({"topic": "a", "tls": {"cert": "x"}}, "tls.cert: is not known here"),
        ({"topic": "a", "tls": {"certificate": "x"}}, "tls: a certificate and its key"),
        ({"topic": "a", "tls": {"insecure": 1}}, "tls.insecure: expected true"),
        ({"topic": "a", "tls": False, "broker": "mqtts://h"}, "tls: is off, but"),
        ({"topic": "a", "will": "gone"}, "will: expected an object"),
        ({"topic": "a", "will": {"topic": "a/#"}}, "topic 'a/#': '#' at character 3"),
        ({"topic": "a", "will": {"topic": "a", "qos": 3}}, "will.qos: expected"),
        (
            {"topic": "a", "username": {"secret": "../key"}},
            'username: expected {"secret": "name"}',
        ),
        ({"topic": "a", "broker": "a b"}, "broker: expected host:port"),
        ({"topic": "a", "password": "x"}, "username: is missing"),
        ({"topic": "a", "username": 1}, "username: expected text or"),
        ({"topic": "a", "toppic": 1}, "toppic: is not known here; known are topic,"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, Any], text: str) -> None:
    with pytest.raises(BuiltinError) as raised:
        parse(**given)

    assert str(raised.value).startswith(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("h", "h", 1883),
        ("h:1", "h", 1),
        ("mqtt://h:1", "h", 1),
        ("tcp://h/", "h", 1883),
        ("[::1]:7", "::1", 7),
        ("[::1]", "::1", 1883),
        ("::1", "::1", 1883),
    ],
)
def test_a_broker_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = Address.parse(text)

    assert (address.host, address.port) == (host, port)
    assert Address.parse(str(address)) == address


@given(st.text(max_size=10))
def test_any_text_is_an_address_or_a_clear_error(text: str) -> None:
    try:
        Address.parse(text)
    except ConfigError as error:
        assert str(error).startswith("broker: ")  # noqa: PT017 both ends are right


def fired(data: bytes, encoding: Encoding) -> Any:
    message = Message(topic="a/b", payload=data, qos=1, retain=True, packet_id=1)
    text = trigger_payload(message, encoding, received_ms=5)
    return None if text is None else json.loads(text)


@given(JSON)
def test_json_is_embedded_as_it_is(value: Any) -> None:
    data = json.dumps(value).encode()

    for encoding in (Encoding.JSON, Encoding.AUTO):
        got = fired(data, encoding)
        assert got["encoding"] == "json"
        assert got["payload"] == value


@given(st.binary(max_size=20))
def test_any_bytes_become_json(data: bytes) -> None:
    auto = fired(data, Encoding.AUTO)
    match auto["encoding"]:
        case "json":
            assert json.loads(data) == auto["payload"]
        case "text":
            assert auto["payload"].encode() == data
        case "base64":
            assert base64.b64decode(auto["payload"]) == data
    assert base64.b64decode(fired(data, Encoding.BASE64)["payload"]) == data
    assert fired(data, Encoding.TEXT)["payload"] == data.decode(errors="replace")


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b'"\xff"', b"[1,]", b"[" * 9999])
def test_what_is_not_json_is_left_out_where_json_is_asked_for(data: bytes) -> None:
    assert fired(data, Encoding.JSON) is None


def test_properties_of_mqtt_5_are_passed_on() -> None:
    properties = Properties(
        content_type="application/json",
        response_topic="answers",
        correlation_data=b"\x01",
        user={"unit": "C"},
        expiry_s=60,
    )
    message = Message(topic="a", payload=b"1", qos=0, properties=properties)

    text = trigger_payload(message, Encoding.AUTO, received_ms=5)

    assert text is not None
    assert msgspec.json.decode(text) == {
        "topic": "a",
        "payload": 1,
        "encoding": "json",
        "qos": 0,
        "retain": False,
        "properties": {
            "messageExpiryInterval": 60,
            "contentType": "application/json",
            "responseTopic": "answers",
            "correlationData": "AQ==",
            "user": {"unit": "C"},
        },
        "received": 5,
    }
