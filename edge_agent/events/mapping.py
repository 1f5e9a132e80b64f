"""From a feed's parameters to a checked subscription. Pure.

The parameters of `/whisk.system/mqtt/subscribe` are those of its connection
(`identity`), of what becomes of a message (`shape`), of how fast it may fire (`pace`)
and

    topic      the filter, `+`, `#`, `{name}` and `$share/group/...` allowed (required)
    qos        0, 1 or 2; 2 is made 1, because only QoS 1 has one receipt that can wait
               for our commit. 0 carries no promise
    payload    how a message's bytes become JSON: `json` (what is not JSON is
               acknowledged, counted and left out), `text` (UTF-8), `base64`, or `auto`
               (the first of the three that fits)
    retained   `first` (the default: what the broker has kept is fired when the
               subscription is new), `all` (each time the broker sends it), `ignore`
    respond    whether the results of rules go to the response topic of MQTT 5 that a
               message asks for (true)

The payload of a trigger is described in `payloads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from edge_agent.events import identity
from edge_agent.events.address import Address
from edge_agent.events.base import ConfigError
from edge_agent.events.identity import BrokerIdentity, parse_identity
from edge_agent.events.pace import Pace, parse_pace
from edge_agent.events.payloads import Encoding, trigger_payload
from edge_agent.events.shape import Expression, Shape, parse_named_topic, parse_shape
from edge_agent.events.topics import Topic, TopicFilter

__all__ = [
    "CONNECTION_KEYS",
    "Address",
    "BrokerIdentity",
    "ConfigError",
    "Encoding",
    "Expression",
    "MqttConfig",
    "Retained",
    "Topic",
    "parse_config",
    "trigger_payload",
]

CONNECTION_KEYS = identity.KEYS
HIGHEST_QOS = 2
PLAIN = Shape()
AT_ONCE = Pace()
QOS_2_NOTE = (
    "qos 2 is made 1: only QoS 1 has a receipt that can wait until the message is kept"
)
SHAPE_KEYS = ("payload", "filter", "projection", "dedup")
PACE_KEYS = ("throttle", "debounce", "batch")
KEYS = ("topic", "qos", "retained", "respond", *SHAPE_KEYS, *PACE_KEYS, *identity.KEYS)


class Retained(StrEnum):
    """What becomes of messages that the broker has kept for new subscribers."""

    IGNORE = "ignore"
    FIRST = "first"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """A checked subscription. `asked_qos` is what was asked for, `qos` what is made."""

    text: str
    topic: TopicFilter
    identity: BrokerIdentity
    qos: int = 1
    asked_qos: int = 1
    retained: Retained = Retained.FIRST
    respond: bool = True
    shape: Shape = PLAIN
    pace: Pace = AT_ONCE

    def shown(self) -> dict[str, Any]:
        """What READ answers: nothing secret, and a note on QoS 2."""
        shown: dict[str, Any] = {
            "topic": self.text,
            "qos": self.qos,
            "retained": str(self.retained),
            "respond": self.respond,
            **self.shape.shown(),
            **self.pace.shown(),
            **self.identity.shown(),
        }
        if self.asked_qos != self.qos:
            shown["note"] = QOS_2_NOTE
        return shown


def parse_config(
    given: Mapping[str, Any], *, namespace: str, own: Mapping[str, Any]
) -> MqttConfig:
    """Check a feed's parameters; `own` are the node's, of which `broker` is there.

    Raises:
        BuiltinError: the text names the key (or the topic filter's place) and the fix.
    """
    for key in given:
        if key not in KEYS:
            raise ConfigError(key, f"is not known here; known are {', '.join(KEYS)}")
    if given.get("topic") is None:
        raise ConfigError("topic", "is missing; give a filter such as sensors/+/temp")
    topic, names = parse_named_topic(given["topic"])
    shape, pace = parse_shape(given, names), parse_pace(given)
    if shape.dedup is not None and pace.batch is not None:
        raise ConfigError("dedup", "does not go with batch: a batch has many keys")
    qos = _qos(given.get("qos", 1))
    return MqttConfig(
        text=given["topic"],
        topic=topic,
        identity=parse_identity(given, namespace=namespace, own=own),
        qos=min(qos, 1),
        asked_qos=qos,
        retained=_retained(given.get("retained", Retained.FIRST)),
        respond=_switch(given, "respond", default=True),
        shape=shape,
        pace=pace,
    )


def _qos(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= HIGHEST_QOS:
        raise ConfigError("qos", f"expected 0, 1 or 2, got {value!r}")
    return value


def _retained(value: Any) -> Retained:
    try:
        return Retained(value)
    except ValueError as error:
        known = ", ".join(Retained)
        problem = f"expected one of {known}; got {value!r}"
        raise ConfigError("retained", problem) from error


def _switch(given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if type(value) is not bool:
        raise ConfigError(key, f"expected true or false, got {value!r}")
    return value
