"""The rule annotation `mqtt-result-topic`: where a rule's results are published.

Its value is a topic or an object `{topic, qos, retain, broker}`. In the topic
`{action}`, `{rule}`, `{namespace}`, `{activationId}` and `{status}` are filled in;
`status` is one of `success`, `application_error`, `developer_error` and `whisk_error`.
`{args.NAME}` is an argument of the run, text or a number: with a feed on
`sensors/{room}/temp` the result of each room can go to `heat/{args.room}`. The payload
is the result as the record has it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from edge_agent.events.address import parse_addresses
from edge_agent.events.base import BuiltinError, ConfigError, Outgoing
from edge_agent.events.topics import Topic
from edge_agent.model.activations import ActivationRecord

ANNOTATION = "mqtt-result-topic"
KEYS = ("topic", "qos", "retain", "broker")
FIELDS = ("action", "rule", "namespace", "activationId", "status")
ARGUMENT = "args."
_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"args\.[A-Za-z_][A-Za-z0-9_-]*")
#: Annotations that are remembered as checked.
CACHE_MOST = 256

_encode = msgspec.json.Encoder().encode
_arguments = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class ResultTopic:
    """A checked annotation. `topic` may hold fields in braces."""

    topic: str
    qos: int = 1
    retain: bool = False
    broker: str = ""

    def outgoing(
        self, record: ActivationRecord, *, rule: str, arguments: bytes
    ) -> Outgoing:
        """What to publish.

        Raises:
            BuiltinError: an argument that the topic needs is missing or cannot be in
                one.
        """
        return Outgoing(
            id=record.activation_id,
            namespace=record.namespace,
            broker=self.broker,
            topic=self._topic(record, rule, arguments),
            payload=bytes(record.response.result),
            qos=self.qos,
            retain=self.retain,
        )

    def _topic(self, record: ActivationRecord, rule: str, arguments: bytes) -> str:
        if "{" not in self.topic:
            return self.topic
        fields: dict[str, Any] = {
            "action": record.name,
            "rule": rule.rpartition("/")[2],
            "namespace": record.namespace,
            "activationId": record.activation_id,
            "status": record.response.code.name.lower(),
        }
        if f"{{{ARGUMENT}" in self.topic:
            given = _arguments(arguments)
            fields |= {f"{ARGUMENT}{name}": value for name, value in given.items()}
        topic = _FIELD.sub(lambda field: _text(field[1], fields), self.topic)
        return str(Topic(topic))


def _text(name: str, fields: Mapping[str, Any]) -> str:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError("topic", f"{{{name}}} is neither text nor a number")
    return str(value)


def parse_annotation(value: Any) -> ResultTopic:
    """Check the annotation's value; for a clear answer when a rule is made.

    Raises:
        BuiltinError: the text begins with the annotation's name.
    """
    try:
        return _parse({"topic": value} if isinstance(value, str) else value)
    except BuiltinError as error:
        raise BuiltinError(f"annotation {ANNOTATION}: {error}") from error


@lru_cache(CACHE_MOST)
def _parse_text(text: bytes) -> ResultTopic:
    return parse_annotation(msgspec.json.decode(text))


def outgoing_for(
    value: Any, record: ActivationRecord, *, rule: str = "", arguments: bytes = b"{}"
) -> Outgoing | str | None:
    """What is published for a finished activation.

    Args:
        value: of the rule's annotation; None when it has none.
        record: of the activation.
        rule: its name.
        arguments: what the action was run with.

    Returns:
        None when there is nothing to publish; a text when it cannot be.
    """
    if value is None:
        return None
    try:
        checked = _parse_text(_encode(value))
        return checked.outgoing(record, rule=rule, arguments=arguments)
    except BuiltinError as error:
        return str(error)


def _parse(value: Any) -> ResultTopic:
    if not isinstance(value, Mapping):
        raise BuiltinError(f"expected a topic or an object, got {value!r}")
    for key in value:
        if key not in KEYS:
            raise ConfigError(key, f"is not known here; known are {', '.join(KEYS)}")
    topic = value.get("topic")
    if not isinstance(topic, str):
        raise ConfigError("topic", f"expected text, got {topic!r}")
    _check_template(topic)
    qos = value.get("qos", 1)
    if type(qos) is not int or qos not in (0, 1, 2):
        raise ConfigError("qos", f"expected 0 or 1, got {qos!r}")
    retain = value.get("retain", False)
    if type(retain) is not bool:
        raise ConfigError("retain", f"expected true or false, got {retain!r}")
    broker = value.get("broker", "")
    if broker:
        parse_addresses(broker)
    elif broker != "":
        raise ConfigError("broker", f"expected host:port, got {broker!r}")
    if not isinstance(broker, str):
        broker = ",".join(broker)
    return ResultTopic(topic, min(qos, 1), retain, broker)


def _check_template(topic: str) -> None:
    for name in _FIELD.findall(topic):
        if name not in FIELDS and not _NAME.fullmatch(name):
            raise _unknown(topic)
    filled = _FIELD.sub("x", topic)
    if "{" in filled or "}" in filled:
        raise _unknown(topic)
    Topic(filled)


def _unknown(topic: str) -> ConfigError:
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    return ConfigError(
        "topic", f"{topic!r}: the fields are {known} and {{{ARGUMENT}NAME}}"
    )
