"""The rule annotation `mqtt-result-topic`: where a rule's results are published.

Its value is a topic or an object `{topic, qos, retain, broker}`. In the topic
`{action}`, `{activationId}` and `{status}` are filled in; `status` is one of `success`,
`application_error`, `developer_error` and `whisk_error`. The payload is the result as
the record has it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import BuiltinError, ConfigError, Outgoing
from edge_agent.events.mapping import Address
from edge_agent.events.topics import Topic
from edge_agent.model.activations import ActivationRecord

ANNOTATION = "mqtt-result-topic"
KEYS = ("topic", "qos", "retain", "broker")
FIELDS = ("action", "activationId", "status")
#: What a field is checked with; any name and id is as legal as this.
_SAMPLE = dict.fromkeys(FIELDS, "x")


@dataclass(frozen=True, slots=True)
class ResultTopic:
    """A checked annotation. `topic` may hold fields in braces."""

    topic: str
    qos: int = 1
    retain: bool = False
    broker: str = ""

    def outgoing(self, record: ActivationRecord) -> Outgoing:
        status = record.response.code.name.lower()
        fields = {
            "action": record.name,
            "activationId": record.activation_id,
            "status": status,
        }
        return Outgoing(
            id=record.activation_id,
            namespace=record.namespace,
            broker=self.broker,
            topic=_fill(self.topic, fields),
            payload=bytes(record.response.result),
            qos=self.qos,
            retain=self.retain,
        )


def parse_annotation(value: Any) -> ResultTopic:
    """Check the annotation's value; for a clear answer when a rule is made.

    Raises:
        BuiltinError: the text begins with the annotation's name.
    """
    try:
        return _parse({"topic": value} if isinstance(value, str) else value)
    except BuiltinError as error:
        raise BuiltinError(f"annotation {ANNOTATION}: {error}") from error


def outgoing_for(value: Any, record: ActivationRecord) -> Outgoing | str | None:
    """What is published for a finished activation.

    Args:
        value: of the rule's annotation; None when it has none.
        record: of the activation.

    Returns:
        None when there is nothing to publish; a text when the annotation is wrong.
    """
    if value is None:
        return None
    try:
        return parse_annotation(value).outgoing(record)
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
    Topic(_fill(topic, _SAMPLE))
    qos = value.get("qos", 1)
    if type(qos) is not int or qos not in (0, 1, 2):
        raise ConfigError("qos", f"expected 0 or 1, got {qos!r}")
    retain = value.get("retain", False)
    if type(retain) is not bool:
        raise ConfigError("retain", f"expected true or false, got {retain!r}")
    broker = value.get("broker", "")
    if broker:
        Address.parse(broker)
    elif broker != "":
        raise ConfigError("broker", f"expected host:port, got {broker!r}")
    return ResultTopic(topic, min(qos, 1), retain, broker)


def _fill(topic: str, fields: Mapping[str, str]) -> str:
    for name, value in fields.items():
        topic = topic.replace(f"{{{name}}}", value)
    if "{" in topic or "}" in topic:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise ConfigError("topic", f"{topic!r}: the fields are {known}")
    return topic
