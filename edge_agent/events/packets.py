"""The three MQTT packets that come by the thousand: PUBLISH, PUBACK and their frames.

paho decodes a PUBLISH with one property in 25 µs and a PUBACK in 13 µs (most of it
building tables of property names); these take about 2. All else is left to paho. Pure:
bytes in, values out (MQTT 5, sections 2 and 3.3; 3.1.1 has no properties).
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from edge_agent.model.errors import EdgeWhiskError

PUBLISH = 0x30
PUBACK = 0x40
#: PUBACK reasons from here on are refusals.
FIRST_REFUSAL = 0x80

_PUBACK = struct.Struct("!BBH")
_SHORT = struct.Struct("!H")
_LONG = struct.Struct("!I")
_MOST_LENGTH_BYTES = 4


class MalformedPacket(EdgeWhiskError):
    """The peer does not speak MQTT; the connection is of no more use."""


class Properties(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"
):
    """What MQTT 5 sends along with a message; absent properties are left out.

    `user` has the last value of a name that comes more than once.
    """

    payload_format: int | None = None
    expiry_s: int | None = msgspec.field(default=None, name="messageExpiryInterval")
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user: dict[str, str] = {}


NO_PROPERTIES = Properties()


class Message(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A received PUBLISH. `packet_id` is 0 at QoS 0; `identifiers`: which filters."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    duplicate: bool = False
    packet_id: int = 0
    identifiers: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


def next_frame(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the body and the end of the packet at `start` are; None: not all here.

    Raises:
        MalformedPacket: its length is longer than four bytes.
    """
    length = shift = 0
    place = start + 1
    for byte in data[place : place + _MOST_LENGTH_BYTES]:
        length |= (byte & 0x7F) << shift
        shift += 7
        place += 1
        if byte < 0x80:  # noqa: PLR2004 the top bit says that more follows
            end = place + length
            return (place, end) if end <= len(data) else None
    if place - start > _MOST_LENGTH_BYTES:
        raise MalformedPacket("a packet's length has more than four bytes")
    return None


def decode_publish(header: int, body: bytes, *, version_5: bool) -> Message:
    """Read the packet whose first byte is `header`.

    Raises:
        MalformedPacket: it is no PUBLISH as MQTT has it.
    """
    try:
        return _decode_publish(header, body, version_5)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedPacket(f"a PUBLISH packet is malformed: {error}") from error


def _decode_publish(header: int, body: bytes, version_5: bool) -> Message:  # noqa: FBT001 hot
    place = 2 + _SHORT.unpack_from(body)[0]
    topic = str(body[2:place], "utf-8")
    qos = header >> 1 & 3
    packet_id = 0
    if qos:
        packet_id = _SHORT.unpack_from(body, place)[0]
        place += 2
    identifiers: tuple[int, ...] = ()
    properties = NO_PROPERTIES
    if version_5:
        if body[place]:
            length, place = _read_varint(body, place)
            end = place + length
            identifiers, properties = _read_properties(body, place, end)
            place = end
        else:
            place += 1
    if not topic or place > len(body):
        raise MalformedPacket("a PUBLISH packet is malformed: no topic or too short")
    return Message(
        topic=topic,
        payload=body[place:],
        qos=qos,
        retain=bool(header & 1),
        duplicate=bool(header & 8),
        packet_id=packet_id,
        identifiers=identifiers,
        properties=properties,
    )


def _read_varint(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:  # noqa: PLR2004 the top bit says that more follows
            return value, place
        shift += 7


#: Identifier -> field and how it is read.
_FIELDS = {
    0x01: ("payload_format", "byte"),
    0x02: ("expiry_s", "long"),
    0x03: ("content_type", "text"),
    0x08: ("response_topic", "text"),
    0x09: ("correlation_data", "binary"),
    0x23: ("topic_alias", "short"),
}
_SUBSCRIPTION_IDENTIFIER = 0x0B
_USER_PROPERTY = 0x26


def _read_properties(
    body: bytes, place: int, end: int
) -> tuple[tuple[int, ...], Properties]:
    identifiers: tuple[int, ...] = ()
    found: dict[str, Any] = {}
    while place < end:
        kind = body[place]
        place += 1
        if kind == _SUBSCRIPTION_IDENTIFIER:
            identifier, place = _read_varint(body, place)
            identifiers += (identifier,)
        elif kind == _USER_PROPERTY:
            name, place = _read_text(body, place)
            value, place = _read_text(body, place)
            found.setdefault("user", {})[name] = value
        elif kind in _FIELDS:
            field, how = _FIELDS[kind]
            found[field], place = _READERS[how](body, place)
        else:
            raise MalformedPacket(f"a PUBLISH packet has the property {kind:#04x}")
    found.pop("topic_alias", None)  # we announce none, so none is used
    return identifiers, Properties(**found) if found else NO_PROPERTIES


def _read_byte(body: bytes, place: int) -> tuple[int, int]:
    return body[place], place + 1


def _read_short(body: bytes, place: int) -> tuple[int, int]:
    return _SHORT.unpack_from(body, place)[0], place + 2


def _read_long(body: bytes, place: int) -> tuple[int, int]:
    return _LONG.unpack_from(body, place)[0], place + 4


def _read_binary(body: bytes, place: int) -> tuple[bytes, int]:
    end = place + 2 + _SHORT.unpack_from(body, place)[0]
    return body[place + 2 : end], end


def _read_text(body: bytes, place: int) -> tuple[str, int]:
    data, end = _read_binary(body, place)
    return str(data, "utf-8"), end


_READERS: dict[str, Any] = {
    "byte": _read_byte,
    "short": _read_short,
    "long": _read_long,
    "binary": _read_binary,
    "text": _read_text,
}


def encode_publish(
    topic: bytes,
    payload: bytes,
    *,
    packet_id: int,
    retain: bool = False,
    version_5: bool,
    correlation: bytes | None = None,
) -> bytes:
    """A PUBLISH of QoS 1, or of QoS 0 when `packet_id` is 0.

    3.1.1 has no properties: there `correlation` is left out.
    """
    header = PUBLISH | (2 if packet_id else 0) | retain
    middle = _SHORT.pack(packet_id) if packet_id else b""
    if version_5:
        middle += b"\0" if correlation is None else _correlated(correlation)
    length = _varint(2 + len(topic) + len(middle) + len(payload))
    return b"".join(
        (bytes((header,)), length, _SHORT.pack(len(topic)), topic, middle, payload)
    )


def _correlated(data: bytes) -> bytes:
    properties = b"\x09" + _SHORT.pack(len(data)) + data
    return _varint(len(properties)) + properties


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 seven bits a byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_puback(packet_id: int) -> bytes:
    return _PUBACK.pack(PUBACK, 2, packet_id)


def decode_puback(body: bytes) -> tuple[int, int]:
    """The packet id and the reason (0 where none is given)."""
    if len(body) < 2:  # noqa: PLR2004 a packet id has two bytes
        raise MalformedPacket("a PUBACK packet is malformed: too short")
    return _SHORT.unpack_from(body)[0], body[2] if len(body) > 2 else 0  # noqa: PLR2004
