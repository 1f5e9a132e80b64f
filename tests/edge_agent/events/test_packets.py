"""Our PUBLISH and PUBACK, against paho's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from edge_agent.events.packets import (
    MalformedPacket,
    decode_puback,
    decode_publish,
    encode_puback,
    encode_publish,
    next_frame,
)

TEXT = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8
)
TOPIC = TEXT.filter(bool)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": TEXT,
        "ResponseTopic": TEXT,
        "CorrelationData": st.binary(max_size=8),
        "UserProperty": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
        "SubscriptionIdentifier": st.lists(
            st.integers(1, 268_435_455), min_size=1, max_size=3
        ),
    },
)


def body_of(
    topic: str, payload: bytes, qos: int, given: dict[str, Any] | None
) -> bytes:
    """A PUBLISH after its header, with paho's properties."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name
    if qos:
        body += (513).to_bytes(2, "big")
    if given is not None:
        properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for key, value in given.items():
            setattr(properties, key, value)
        body += properties.pack()  # type: ignore[no-untyped-call]
    return body + payload


@given(
    TOPIC,
    st.binary(max_size=50),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    PROPERTIES,
)
def test_a_publish_is_read_as_paho_reads_it(  # noqa: PLR0917 given by hypothesis
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    duplicate: bool,
    given: dict[str, Any],
) -> None:
    header = 0x30 | duplicate << 3 | qos << 1 | retain
    body = body_of(topic, payload, qos, given)
    theirs = _packet.decode_publish(header, body, MQTTProtocolVersion.MQTTv5)

    ours = decode_publish(header, body, version_5=True)

    assert ours.topic.encode() == theirs.topic
    assert ours.payload == theirs.payload == payload
    assert (ours.qos, ours.retain, ours.duplicate) == (qos, retain, duplicate)
    assert ours.packet_id == theirs.mid
    assert ours.identifiers == tuple(given.get("SubscriptionIdentifier", ()))
    properties = ours.properties
    assert properties.payload_format == given.get("PayloadFormatIndicator")
    assert properties.expiry_s == given.get("MessageExpiryInterval")
    assert properties.content_type == given.get("ContentType")
    assert properties.response_topic == given.get("ResponseTopic")
    assert properties.correlation_data == given.get("CorrelationData")
    assert properties.user == dict(given.get("UserProperty", []))


@given(TOPIC, st.binary(max_size=50))
def test_3_1_1_has_no_properties(topic: str, payload: bytes) -> None:
    message = decode_publish(0x32, body_of(topic, payload, 1, None), version_5=False)

    assert (message.topic, message.payload, message.packet_id) == (topic, payload, 513)


@given(
    TOPIC,
    st.binary(max_size=300),
    st.integers(0, 65_535),
    st.booleans(),
    st.booleans(),
)
def test_what_we_write_is_what_we_read(
    topic: str, payload: bytes, packet_id: int, retain: bool, version_5: bool
) -> None:
    packet = encode_publish(
        topic.encode(),
        payload,
        packet_id=packet_id,
        retain=retain,
        version_5=version_5,
    )
    frame = next_frame(packet, 0)
    assert frame is not None
    body, end = frame
    assert end == len(packet)

    message = decode_publish(packet[0], packet[body:end], version_5=version_5)

    assert (message.topic, message.payload) == (topic, payload)
    assert (message.packet_id, message.retain) == (packet_id, retain)
    assert message.qos == bool(packet_id)


@given(st.binary(max_size=60), st.booleans(), st.integers(0x30, 0x3F))
def test_any_bytes_are_a_message_or_malformed(
    body: bytes, version_5: bool, header: int
) -> None:
    try:
        decode_publish(header, body, version_5=version_5)
    except MalformedPacket as error:
        assert str(error)  # noqa: PT017 both ends are right


@given(st.integers(1, 65_535))
def test_an_acknowledgement_carries_the_packet_id(packet_id: int) -> None:
    assert decode_puback(encode_puback(packet_id)[2:]) == (packet_id, 0)


def test_an_acknowledgement_may_have_a_reason() -> None:
    assert decode_puback(b"\x00\x07\x87") == (7, 0x87)
    assert decode_puback(b"\x00\x07\x10\x00") == (7, 0x10)
    with pytest.raises(MalformedPacket):
        decode_puback(b"\x00")


@given(st.binary(min_size=200, max_size=300))
def test_a_frame_is_cut_only_when_it_is_whole(payload: bytes) -> None:
    packet = encode_publish(b"a", payload, packet_id=1, version_5=True)

    assert next_frame(packet + b"more", 0) == (3, len(packet))
    assert all(next_frame(packet[:n], 0) is None for n in range(len(packet)))


def test_a_length_of_five_bytes_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        next_frame(b"\x30\xff\xff\xff\xff\x01", 0)
