"""The package `/whisk.system/mqtt`: its feed `subscribe` and its action `publish`.

`wsk trigger create t --feed /whisk.system/mqtt/subscribe -p topic 'sensors/#'` calls
the feed with a verb of `lifecycle` and the parameters of `mapping`. What is returned is
the result, a `BuiltinError` is an application error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edge_agent.events.base import (
    BuiltinError,
    ConfigError,
    Outgoing,
    SourceState,
    Subscription,
)
from edge_agent.events.lifecycle import Arguments, Config, Feeds, Lifecycle
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.events.topics import Topic
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName, new_activation_id

SUBSCRIBE = FullName("whisk.system", "subscribe", "mqtt")
PUBLISH = FullName("whisk.system", "publish", "mqtt")
PUBLISH_KEYS = ("topic", "payload", "qos", "retain", "broker")
#: How long `publish` waits for the broker's receipt.
PUBLISH_TIMEOUT_S = 10.0

_encode = msgspec.json.Encoder().encode

#: What GET shows of the two (B14, B18).
SUBSCRIBE_ANNOTATIONS: Mapping[str, Any] = {
    "feed": True,
    "description": "Fire a trigger for each message of an MQTT topic",
    "parameters": [
        {
            "name": "topic",
            "required": True,
            "description": "The filter: +, #, {name} and $share/group/ work",
        },
        {"name": "broker", "description": "host:port, mqtts://...; several by commas"},
        {"name": "qos", "description": "0 or 1 (the default); 2 is made 1"},
        {"name": "payload", "description": "json, text, base64 or auto (the default)"},
        {"name": "retained", "description": "first (the default), all or ignore"},
        {"name": "filter", "description": "JMESPath: what is fired for"},
        {"name": "projection", "description": "JMESPath: what payload becomes"},
        {
            "name": "throttle",
            "description": "ms, or {ms, by}: one message in that time",
        },
        {"name": "debounce", "description": "ms, or {ms, by}: the last one when quiet"},
        {"name": "batch", "description": "{size, ms}: one fire for many messages"},
        {"name": "dedup", "description": "{key, window_ms}: run once in the window"},
        {"name": "respond", "description": "Answer MQTT 5 requests (true)"},
        {"name": "username"},
        {
            "name": "password",
            "type": "password",
            "description": 'Better {"secret": "name"}',
        },
        {"name": "tls", "description": "true, or {ca, certificate, key, server_name}"},
        {"name": "version", "description": "auto (the default), 5 or 3.1.1"},
        {"name": "client_id", "description": "No other client's"},
        {"name": "session_expiry_s", "description": "A week; 0: no session"},
        {"name": "keepalive_s"},
        {"name": "will", "description": "{topic, payload, qos, retain}"},
    ],
    "sampleInput": {"topic": "sensors/+/temp"},
}
PUBLISH_ANNOTATIONS: Mapping[str, Any] = {
    "description": "Publish a message and wait for the broker's receipt",
    "parameters": [
        {"name": "topic", "required": True, "description": "Where to; no wildcards"},
        {"name": "payload", "description": "Text as it is, all else as JSON"},
        {"name": "qos", "description": "0 or 1 (the default)"},
        {"name": "retain", "description": "Whether the broker keeps it as the last"},
        {"name": "broker", "description": "host:port; the node's own by default"},
    ],
    "sampleInput": {"topic": "lamps/hall/set", "payload": {"on": True}},
}


class MqttPackage:
    """The two coroutines; `source` and `state` are the node's own."""

    feed = FEED
    noun = "MQTT subscription"

    def __init__(
        self,
        source: MqttSource,
        state: SourceState,
        *,
        publish_timeout_s: float = PUBLISH_TIMEOUT_S,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        feeds: Feeds | None = None,
    ) -> None:
        self._source = source
        self._publish_timeout_s = publish_timeout_s
        self._lifecycle = Lifecycle(self, state, wall_ms=wall_ms, feeds=feeds)

    async def subscribe(self, identity: Identity, arguments: Arguments) -> Any:
        """The feed.

        Raises:
            BuiltinError: what is wrong with the arguments.
        """
        return await self._lifecycle(identity, arguments)

    async def publish(self, identity: Identity, arguments: Arguments) -> Any:
        """The action; resolves when the broker has the message.

        Raises:
            BuiltinError: wrong arguments, refused, or no receipt in time.
        """
        outgoing = _outgoing(identity, arguments)
        try:
            async with asyncio.timeout(self._publish_timeout_s):
                await self._source.send(outgoing)
        except TimeoutError as error:
            state = self._source.publishing_state(outgoing.namespace, outgoing.broker)
            text = (
                f"no receipt in {self._publish_timeout_s:g} s from the broker: {state}"
            )
            raise BuiltinError(text) from error
        return {"topic": outgoing.topic, "qos": outgoing.qos, "published": True}

    # --- for the lifecycle ----------------------------------------------------------

    async def accept(self, _: str, config: Config, __: Subscription | None) -> Config:
        self._source.check(config)
        return config

    async def start(self, subscription: Subscription) -> None:
        config = self._source.check(subscription.config, subscription.namespace)
        await self._source.check_secrets(config)
        self._source.subscribe(subscription)
        await self._source.settle(subscription.id)

    def stop(self, subscription: Subscription, *, deleted: bool) -> None:  # noqa: ARG002 what is paused leaves no trace either
        self._source.unsubscribe(subscription.id)

    def status(self, subscription: Subscription) -> dict[str, Any]:
        return self._source.status(subscription.id)

    def shown(self, subscription: Subscription) -> Config:
        try:
            return self._source.check(subscription.config).shown()
        except BuiltinError:  # the status says what is wrong with it
            return {"topic": subscription.config.get("topic")}


def _outgoing(identity: Identity, arguments: Arguments) -> Outgoing:
    for key in arguments:
        if key not in PUBLISH_KEYS and not key.startswith("__ow_"):
            known = ", ".join(PUBLISH_KEYS)
            raise ConfigError(key, f"is not known here; known are {known}")
    if arguments.get("topic") is None:
        raise ConfigError("topic", "is missing")
    qos = arguments.get("qos", 1)
    if type(qos) is not int or qos not in (0, 1, 2):
        raise ConfigError("qos", f"expected 0 or 1, got {qos!r}")
    retain = arguments.get("retain", False)
    if type(retain) is not bool:
        raise ConfigError("retain", f"expected true or false, got {retain!r}")
    broker = arguments.get("broker", "")
    if not isinstance(broker, str):
        raise ConfigError("broker", f"expected host:port, got {broker!r}")
    return Outgoing(
        id=new_activation_id(),
        namespace=identity.namespace,
        broker=broker,
        topic=str(Topic(arguments["topic"])),
        payload=_payload(arguments.get("payload")),
        qos=min(qos, 1),
        retain=retain,
    )


def _payload(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else _encode(value)
