"""From a feed's parameters to a checked subscription, from a message to a payload.

Pure. The parameters of `/whisk.system/mqtt/subscribe` are

    topic      the filter, `+` and `#` allowed (required)
    broker     `host:port`; the node's own broker when left out
    qos        0, 1 or 2; 2 is made 1, because only QoS 1 has one receipt that can wait
               for our commit. 0 carries no promise
    payload    how a message's bytes become JSON: `json` (what is not JSON is
               acknowledged, counted and left out), `text` (UTF-8), `base64`, or `auto`
               (the first of the three that fits)
    username, password   for the broker

and a trigger is fired with

    {"topic": "sensors/kitchen/temp", "payload": 21.5, "encoding": "json", "qos": 1,
     "retain": false, "properties": {...}, "received": 1700000000000}

where `encoding` says how `payload` was read, `properties` holds MQTT 5's
`contentType`, `responseTopic`, `correlationData` (base64), `messageExpiryInterval`,
`payloadFormat` and `user` where they were sent, and `received` is epoch ms. JSON
payloads are checked and embedded as they are.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.events.base import ConfigError
from edge_agent.events.packets import Message, Properties
from edge_agent.events.topics import TopicFilter

DEFAULT_PORT = 1883
HIGHEST_PORT = 65_535
HIGHEST_QOS = 2
QOS_2_NOTE = (
    "qos 2 is made 1: only QoS 1 has a receipt that can wait until the message is kept"
)


class Encoding(StrEnum):
    """How a message's bytes become JSON."""

    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: Any, *, key: str = "broker") -> Address:
        """Read `host`, `host:port`, `[v6]:port`, with or without `mqtt://`.

        Raises:
            ConfigError: naming `key`.
        """
        if not isinstance(text, str) or not text:
            raise ConfigError(key, f"expected host:port, got {text!r}")
        scheme, separator, rest = text.rpartition("://")
        if separator and scheme not in ("mqtt", "tcp"):
            raise ConfigError(key, f"{scheme}:// is not supported, use mqtt://")
        rest = rest.removesuffix("/")
        host, port = _split_port(rest)
        if not host or any(c.isspace() or c in "/@?#" for c in host):
            raise ConfigError(key, f"expected host:port, got {text!r}")
        if not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
            raise ConfigError(key, f"the port of {text!r} must be 1 to {HIGHEST_PORT}")
        return cls(host, int(port))


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":") if port else str(DEFAULT_PORT)
    if text.count(":") > 1:  # a bare IPv6 address
        return text, str(DEFAULT_PORT)
    host, separator, port = text.partition(":")
    return host, port if separator else str(DEFAULT_PORT)


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """A checked subscription. `asked_qos` is what was asked for, `qos` what is made."""

    topic: TopicFilter
    broker: Address
    qos: int = 1
    asked_qos: int = 1
    payload: Encoding = Encoding.AUTO
    username: str | None = None
    password: str | None = None

    def identity(self, namespace: str) -> BrokerIdentity:
        return BrokerIdentity(namespace, self.broker, self.username, self.password)

    def shown(self) -> dict[str, Any]:
        """What READ answers: everything but the password, and a note on QoS 2."""
        shown: dict[str, Any] = {
            "topic": str(self.topic),
            "broker": str(self.broker),
            "qos": self.qos,
            "payload": str(self.payload),
        }
        if self.username is not None:
            shown["username"] = self.username
        if self.asked_qos != self.qos:
            shown["note"] = QOS_2_NOTE
        return shown


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """Who connects where; subscriptions that agree in it share a connection."""

    namespace: str
    address: Address
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"BrokerIdentity({self.namespace}, {self.address}, {self.username})"

    @property
    def digest(self) -> str:
        """Eight characters, the same for the same identity after a restart too."""
        parts = [self.namespace, str(self.address)]
        parts += [self.username or "", self.password or ""]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


KEYS = ("topic", "broker", "qos", "payload", "username", "password")


def parse_config(given: Mapping[str, Any], *, default_broker: str) -> MqttConfig:
    """Check a feed's parameters.

    Raises:
        BuiltinError: the text names the key (or the topic filter's place) and the fix.
    """
    for key in given:
        if key not in KEYS:
            raise ConfigError(key, f"is not known here; known are {', '.join(KEYS)}")
    if given.get("topic") is None:
        raise ConfigError("topic", "is missing; give a filter such as sensors/+/temp")
    qos = _qos(given.get("qos", 1))
    password = _text(given, "password")
    username = _text(given, "username")
    if password is not None and username is None:
        raise ConfigError("username", "is missing; a password needs one")
    return MqttConfig(
        topic=TopicFilter(given["topic"]),
        broker=Address.parse(given.get("broker", default_broker)),
        qos=min(qos, 1),
        asked_qos=qos,
        payload=_encoding(given.get("payload", Encoding.AUTO)),
        username=username,
        password=password,
    )


def _qos(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= HIGHEST_QOS:
        raise ConfigError("qos", f"expected 0, 1 or 2, got {value!r}")
    return value


def _encoding(value: Any) -> Encoding:
    try:
        return Encoding(value)
    except ValueError as error:
        known = ", ".join(Encoding)
        raise ConfigError(
            "payload", f"expected one of {known}; got {value!r}"
        ) from error


def _text(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(key, f"expected text, got {type(value).__name__}; quote it")
    return value


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
