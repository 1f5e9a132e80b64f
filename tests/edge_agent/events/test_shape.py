"""Names of levels, filters, projections and keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.packets import Message
from edge_agent.events.shape import (
    Left,
    Read,
    parse_named_topic,
    parse_shape,
)

LEVEL = st.text(
    st.characters(blacklist_characters="+#/\0", blacklist_categories=["Cs"])
)


def read(message: Message, **parameters: Any) -> Read | Left:
    return parse_shape(parameters).read(message, received_ms=5)


def message(payload: bytes, topic: str = "a/b") -> Message:
    return Message(topic=topic, payload=payload, qos=1)


@given(LEVEL, LEVEL)
def test_any_level_becomes_the_parameter_of_its_name(one: str, two: str) -> None:
    topic, names = parse_named_topic("{first}/x/{second}")
    shape = parse_shape({}, names)
    for _ in range(2):  # the second time from memory
        found = shape.read(message(b"1", f"{one}/x/{two}"), received_ms=5)
        assert isinstance(found, Read)
        document = json.loads(found.payload)
        assert (document["first"], document["second"]) == (one, two)
        assert document["payload"] == 1
    assert str(topic) == "+/x/+"


def test_a_share_is_no_level() -> None:
    topic, names = parse_named_topic("$share/group/{room}/temp")

    assert str(topic) == "$share/group/+/temp"
    assert names == ((0, "room"),)


@pytest.mark.parametrize(
    ("value", "left"),
    [("0", False), ("1", False), ('"a"', False), ('""', True), ("[]", True)],
)
def test_a_filter_thinks_as_jmespath_does(value: str, left: bool) -> None:
    found = read(message(value.encode()), filter="payload")

    assert (found is Left.FILTERED) == left


@given(st.binary(max_size=30), st.sampled_from(["payload.a", "length(payload)", "@"]))
def test_any_message_is_read_or_left_out(data: bytes, text: str) -> None:
    found = read(message(data), filter=text, projection=text)

    assert isinstance(found, Left) or json.loads(found.payload)


def test_a_key_is_text_of_bounded_length() -> None:
    given_key = {"key": "payload", "window_ms": 9}
    keys = [
        found.dedup
        for data in (b'"a"', b"7", b'{"b": 1}', b'"' + b"x" * 900 + b'"', b"null")
        if isinstance(found := read(message(data), dedup=given_key), Read)
    ]

    assert keys[:3] == [("a", 9), ("7", 9), ('{"b":1}', 9)]
    assert keys[3] is not None
    assert len(keys[3][0]) == 64
    assert keys[4] is None
