"""From a message to the JSON text that a trigger is fired with. Pure.

    {"topic": "sensors/kitchen/temp", "payload": 21.5, "encoding": "json", "qos": 1,
     "retain": false, "properties": {...}, "received": 1700000000000}

`encoding` says how `payload` was read, `properties` holds MQTT 5's `contentType`,
`responseTopic`, `correlationData` (base64), `messageExpiryInterval`, `payloadFormat`
and `user` where they were sent, and `received` is epoch ms. JSON payloads are checked
and embedded as they are.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Raw

from edge_agent.events.packets import Message, Properties

#: The keys of the shape, which nothing else may take.
FIELDS = ("topic", "payload", "encoding", "qos", "retain", "properties", "received")


class Encoding(StrEnum):
    """How a message's bytes become JSON."""

    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"
    AUTO = "auto"


class _Fired(msgspec.Struct, frozen=True):
    topic: str
    payload: Raw
    encoding: str
    qos: int
    retain: bool
    properties: Properties
    received: int


_encode = msgspec.json.Encoder().encode
_check = msgspec.json.Decoder(Raw).decode


def trigger_payload(
    message: Message, encoding: Encoding, *, received_ms: int
) -> bytes | None:
    """The JSON text a trigger is fired with; None: not JSON where JSON is asked for."""
    read = _READERS[encoding](message.payload)
    if read is None:
        return None
    payload, how = read
    return _encode(
        _Fired(
            message.topic,
            Raw(payload),
            how,
            message.qos,
            message.retain,
            message.properties,
            received_ms,
        )
    )


def batch_payload(payloads: Sequence[bytes]) -> bytes:
    """Several of them as one: `{"messages": [...]}`, in the order they came."""
    return b'{"messages":[%b]}' % b",".join(payloads)


def object_payload(data: bytes) -> bytes | None:
    """The message's own object as arguments; nothing is `{}`; None: no object."""
    if not data:
        return b"{}"
    read = _read_json(data)
    return data if read is not None and data.lstrip()[:1] == b"{" else None


def _read_json(data: bytes) -> tuple[bytes, str] | None:
    try:
        _check(data)
        if not data.isascii():
            data.decode()  # msgspec does not look into the strings of a Raw
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return data, "json"


def _read_text(data: bytes) -> tuple[bytes, str]:
    return _encode(data.decode(errors="replace")), "text"


def _read_base64(data: bytes) -> tuple[bytes, str]:
    return b'"%b"' % base64.b64encode(data), "base64"


def _read_auto(data: bytes) -> tuple[bytes, str]:
    read = _read_json(data)
    if read is not None:
        return read
    try:
        return _encode(data.decode()), "text"
    except UnicodeDecodeError:
        return _read_base64(data)


_READERS = {
    Encoding.JSON: _read_json,
    Encoding.TEXT: _read_text,
    Encoding.BASE64: _read_base64,
    Encoding.AUTO: _read_auto,
}
