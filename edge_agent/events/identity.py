"""As whom a broker is connected to: address, credentials, session and will. Pure.

The parameters are those of a subscription (`mapping`) that its connection is made from:

    broker              `host:port` or `mqtts://host:port`; several (a list, or text
                        with commas) are tried in turn. The node's own when left out
    username, password  for the broker
    tls                 true, or {ca, certificate, key, server_name, insecure}: texts in
                        PEM form; without `ca` the system's authorities are trusted
    version             `auto` (the default: 5, and 3.1.1 where 5 is refused), 5, 3.1.1
    client_id           no other client's; made from node and parameters when left out
    session_expiry_s    how long the broker keeps the session (a week); 0: not at all
    keepalive_s         how soon a silent connection is noticed
    will                {topic, payload, qos, retain}: what the broker publishes for us
                        when we are lost

`password`, `username`, the texts of `tls` and the payload of `will` may be
`{"secret": "name"}`: see `secret`. What is left out is the node's own setting, as far
as the broker is the node's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edge_agent.events.address import Address, parse_addresses
from edge_agent.events.base import ConfigError
from edge_agent.events.secret import Hidden, Secret, is_secret, parse_hidden
from edge_agent.events.topics import Topic

Version = Literal["auto", "5", "3.1.1"]

WEEK_S = 7 * 86_400
LONGEST_EXPIRY_S = 0xFFFF_FFFF
LONGEST_KEEPALIVE_S = 65_535
LONGEST_CLIENT_ID = 128
TLS_KEYS = ("ca", "certificate", "key", "server_name", "insecure")
WILL_KEYS = ("topic", "payload", "qos", "retain")
KEYS = (
    "broker",
    "username",
    "password",
    "tls",
    "version",
    "client_id",
    "session_expiry_s",
    "keepalive_s",
    "will",
)
#: What an own broker without parameters of its own takes from the settings.
INHERITED = KEYS[1:]
_VERSIONS: Mapping[Any, Version] = {
    "auto": "auto",
    5: "5",
    "5": "5",
    "5.0": "5",
    4: "3.1.1",
    "3.1.1": "3.1.1",
}

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates as PEM text; `server_name` must be in the broker's."""

    ca: Hidden | None = None
    certificate: Hidden | None = None
    key: Hidden | None = None
    server_name: str | None = None
    insecure: bool = False

    def shown(self) -> Any:
        """Certificates are public, but long; a key is left out."""
        texts = {"ca": self.ca, "certificate": self.certificate, "key": self.key}
        shown: dict[str, Any] = {
            name: one.shown for name, one in texts.items() if isinstance(one, Secret)
        }
        if self.server_name is not None:
            shown["server_name"] = self.server_name
        if self.insecure:
            shown["insecure"] = True
        return shown or True


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection ends without a goodbye."""

    topic: str
    payload: Hidden = ""
    qos: int = 0
    retain: bool = False

    def shown(self) -> dict[str, Any]:
        hidden = isinstance(self.payload, Secret)
        payload = self.payload.shown if isinstance(self.payload, Secret) else ""
        shown = {"topic": self.topic, "qos": self.qos, "retain": self.retain}
        return {**shown, "payload": payload if hidden else self.payload}


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """Who connects where and how; subscriptions that agree in it share a connection.

    `lane` counts the connections of one identity: see `lanes`.
    """

    namespace: str
    addresses: tuple[Address, ...]
    username: Hidden | None = None
    password: Hidden | None = None
    tls: Tls | None = None
    version: Version = "auto"
    client_id: str | None = None
    session_expiry_s: int = WEEK_S
    keepalive_s: int | None = None
    will: Will | None = None
    lane: int = 0

    def __repr__(self) -> str:
        return f"BrokerIdentity({self.namespace}, {self.broker})"

    @property
    def broker(self) -> str:
        return ",".join(map(str, self.addresses))

    @property
    def has_secrets(self) -> bool:
        will = None if self.will is None else self.will.payload
        hidden = (self.username, self.password, will)
        return any(isinstance(one, Secret) for one in hidden)

    @property
    def digest(self) -> str:
        """Eight characters, the same for the same identity after a restart too.

        A secret counts by its name: its value may change, and the session stays.
        """
        hidden = [_name(one) for one in (self.username, self.password)]
        tls = self.tls and (_name(self.tls.certificate), _name(self.tls.key))
        parts: list[Any] = [self.namespace, list(map(str, self.addresses)), hidden, tls]
        will = self.will and self.will.shown()
        ways = (self.version, self.session_expiry_s, self.keepalive_s, will)
        if ways != ("auto", WEEK_S, None, None):
            parts += ways
        return hashlib.sha256(_encode(parts)).hexdigest()[:8]

    def client(self, prefix: str) -> str:
        """The client id; every lane is a client of its own."""
        name = self.client_id or f"{prefix}-{self.digest}"
        return f"{name}-{self.lane}" if self.lane else name

    def shown(self) -> dict[str, Any]:
        """For READ: no value of a secret, and no password or key at all."""
        shown: dict[str, Any] = {"broker": self.broker}
        if self.username is not None:
            user = self.username
            shown["username"] = user.shown if isinstance(user, Secret) else user
        if isinstance(self.password, Secret):
            shown["password"] = self.password.shown
        if self.tls is not None:
            shown["tls"] = self.tls.shown()
        if self.version != "auto":
            shown["version"] = self.version
        if self.client_id is not None:
            shown["client_id"] = self.client_id
        if self.session_expiry_s != WEEK_S:
            shown["session_expiry_s"] = self.session_expiry_s
        if self.keepalive_s is not None:
            shown["keepalive_s"] = self.keepalive_s
        if self.will is not None:
            shown["will"] = self.will.shown()
        return shown


def _name(hidden: Hidden | None) -> str:
    """Text as it is, a secret by its name: its value may change, the client not."""
    if isinstance(hidden, Secret):
        return f"\0{hidden.name}" if hidden.of_node else f"\0{hidden.name}\0"
    return hidden or ""


def parse_identity(
    given: Mapping[str, Any], *, namespace: str, own: Mapping[str, Any]
) -> BrokerIdentity:
    """Check the parameters of a connection.

    Args:
        given: a subscription's parameters; other keys than `KEYS` are not looked at.
        namespace: whose connection it is.
        own: the node's own parameters; those that are missing in `given` are taken from
            here as far as the broker is the same.

    Raises:
        BuiltinError: the text names the key and the fix.
    """
    addresses = parse_addresses(given.get("broker", own["broker"]))
    if addresses == parse_addresses(own["broker"]):
        given = {**{k: own[k] for k in INHERITED if own.get(k) is not None}, **given}
    username, password = _hidden(given, "username"), _hidden(given, "password")
    if password is not None and username is None:
        raise ConfigError("username", "is missing; a password needs one")
    return BrokerIdentity(
        namespace,
        addresses,
        username=username,
        password=password,
        tls=_tls(given.get("tls"), asked=addresses[0].tls),
        version=_version(given.get("version", "auto")),
        client_id=_client_id(given.get("client_id")),
        session_expiry_s=_whole(
            given, "session_expiry_s", WEEK_S, most=LONGEST_EXPIRY_S
        ),
        keepalive_s=_whole(given, "keepalive_s", 0, most=LONGEST_KEEPALIVE_S) or None,
        will=_will(given.get("will")),
    )


def _hidden(given: Mapping[str, Any], key: str) -> Hidden | None:
    value = given.get(key)
    return None if value is None else parse_hidden(value, key=key)


def _whole(given: Mapping[str, Any], key: str, default: int, *, most: int) -> int:
    value = given.get(key, default)
    if type(value) is not int or not 0 <= value <= most:
        raise ConfigError(key, f"expected a whole number from 0 to {most}")
    return value


def _version(given: Any) -> Version:
    version = _VERSIONS.get(given) if isinstance(given, str | int) else None
    if version is None or given is True:
        raise ConfigError("version", f"expected auto, 5 or 3.1.1, got {given!r}")
    return version


def _client_id(given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not given or not given.isprintable():
        raise ConfigError("client_id", f"expected text, got {given!r}")
    if len(given) > LONGEST_CLIENT_ID:
        raise ConfigError("client_id", f"may have {LONGEST_CLIENT_ID} characters")
    return given


def _tls(given: Any, *, asked: bool) -> Tls | None:
    if given is None or given is False:
        if given is False and asked:
            raise ConfigError("tls", "is off, but the broker is named with mqtts://")
        return Tls() if asked else None
    if given is True:
        return Tls()
    _check_keys("tls", given, TLS_KEYS)
    texts = {
        name: parse_hidden(given[name], key=f"tls.{name}")
        for name in ("ca", "certificate", "key")
        if given.get(name) is not None
    }
    if ("certificate" in texts) != ("key" in texts):
        raise ConfigError("tls", "a certificate and its key are given together")
    name, insecure = given.get("server_name"), given.get("insecure", False)
    if name is not None and (not isinstance(name, str) or not name):
        raise ConfigError("tls.server_name", f"expected a name, got {name!r}")
    if type(insecure) is not bool:
        raise ConfigError("tls.insecure", f"expected true or false, got {insecure!r}")
    return Tls(**texts, server_name=name, insecure=insecure)


def _will(given: Any) -> Will | None:
    if given is None:
        return None
    _check_keys("will", given, WILL_KEYS)
    payload = given.get("payload", "")
    if not isinstance(payload, str) and not is_secret(payload):
        payload = _encode(payload).decode()
    qos, retain = given.get("qos", 0), given.get("retain", False)
    if type(qos) is not int or not 0 <= qos <= 2:  # noqa: PLR2004 MQTT's three
        raise ConfigError("will.qos", f"expected 0, 1 or 2, got {qos!r}")
    if type(retain) is not bool:
        raise ConfigError("will.retain", f"expected true or false, got {retain!r}")
    topic = str(Topic(given.get("topic", "")))
    return Will(topic, parse_hidden(payload, key="will.payload"), qos, retain)


def _check_keys(key: str, given: Any, known: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(key, f"expected an object, got {given!r}")
    for one in given:
        if one not in known:
            text = ", ".join(known)
            raise ConfigError(f"{key}.{one}", f"is not known here; known are {text}")
