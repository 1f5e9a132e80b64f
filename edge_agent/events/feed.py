"""The package `/whisk.system/mqtt`: its feed `subscribe` and its action `publish`.

`wsk trigger create t --feed /whisk.system/mqtt/subscribe -p topic 'sensors/#'` calls
the feed with `lifecycleEvent: CREATE`, `triggerName`, `authKey` and the parameters of
`mapping` (H21). READ answers `{"config": ..., "status": ...}` (H23). What is returned
is the result, a `BuiltinError` is an application error.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_agent.events.base import (
    BuiltinError,
    Outgoing,
    SourceState,
    Subscription,
)
from edge_agent.events.mapping import ConfigError
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.events.topics import Topic
from edge_agent.model.errors import IllegalName
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName, new_activation_id

SUBSCRIBE = FullName("whisk.system", "subscribe", "mqtt")
PUBLISH = FullName("whisk.system", "publish", "mqtt")
#: What H21 adds to a feed's own parameters.
LIFECYCLE_KEYS = ("lifecycleEvent", "triggerName", "authKey")
PUBLISH_KEYS = ("topic", "payload", "qos", "retain", "broker")
#: How long `publish` waits for the broker's receipt.
PUBLISH_TIMEOUT_S = 10.0

_encode = msgspec.json.Encoder().encode

Arguments = Mapping[str, Any]

#: What GET shows of the two (B14, B18).
SUBSCRIBE_ANNOTATIONS: Mapping[str, Any] = {
    "feed": True,
    "description": "Fire a trigger for each message of an MQTT topic",
    "parameters": [
        {"name": "topic", "required": True, "description": "The filter; + and # work"},
        {"name": "broker", "description": "host:port; the node's own by default"},
        {"name": "qos", "description": "0 or 1 (the default); 2 is made 1"},
        {"name": "payload", "description": "json, text, base64 or auto (the default)"},
        {"name": "username"},
        {"name": "password", "type": "password"},
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

    def __init__(
        self,
        source: MqttSource,
        state: SourceState,
        *,
        publish_timeout_s: float = PUBLISH_TIMEOUT_S,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._source = source
        self._state = state
        self._publish_timeout_s = publish_timeout_s
        self._wall_ms = wall_ms
        self._verbs: dict[str, Callable[[str, Identity, Arguments], Awaitable[Any]]] = {
            "CREATE": self._create,
            "READ": self._read,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "PAUSE": self._pause,
            "UNPAUSE": self._unpause,
        }

    async def subscribe(self, identity: Identity, arguments: Arguments) -> Any:
        """The feed.

        Raises:
            BuiltinError: what is wrong with the arguments.
        """
        event = arguments.get("lifecycleEvent")
        verb = self._verbs.get(event) if isinstance(event, str) else None
        if verb is None:
            known = ", ".join(self._verbs)
            problem = f"expected one of {known}; got {event!r}"
            raise ConfigError("lifecycleEvent", problem)
        _check_key(identity, arguments.get("authKey"))
        return await verb(_trigger(identity, arguments), identity, arguments)

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

    # --- verbs ----------------------------------------------------------------------

    async def _create(
        self, trigger: str, identity: Identity, arguments: Arguments
    ) -> Any:
        """Also in place of one that is there: its trigger was deleted without us."""
        return await self._keep(self._made(trigger, identity, _own(arguments)))

    async def _update(
        self, trigger: str, identity: Identity, arguments: Arguments
    ) -> Any:
        """Lay the arguments over what there is; null takes one back to its default."""
        before = self._find(trigger)
        merged = {**before.config, **_own(arguments)}
        config = {key: value for key, value in merged.items() if value is not None}
        after = self._made(trigger, identity, config, active=before.active)
        return await self._keep(after)

    async def _read(self, trigger: str, _: Identity, __: Arguments) -> Any:
        return self._shown(self._find(trigger))

    async def _delete(self, trigger: str, _: Identity, __: Arguments) -> Any:
        subscription = self._find(trigger)
        self._source.unsubscribe(subscription.id)
        await self._state.forget(subscription.id)
        return {"deleted": subscription.id}

    async def _pause(self, trigger: str, _: Identity, __: Arguments) -> Any:
        return await self._keep(self._switched(trigger, active=False))

    async def _unpause(self, trigger: str, _: Identity, __: Arguments) -> Any:
        return await self._keep(self._switched(trigger, active=True))

    # --- inside ---------------------------------------------------------------------

    def _made(
        self,
        trigger: str,
        identity: Identity,
        config: dict[str, Any],
        *,
        active: bool = True,
    ) -> Subscription:
        self._source.check(config)
        return Subscription(
            id=trigger,
            namespace=identity.namespace,
            feed=FEED,
            config=config,
            active=active,
            changed=self._wall_ms(),
        )

    def _switched(self, trigger: str, *, active: bool) -> Subscription:
        subscription = self._find(trigger)
        return msgspec.structs.replace(
            subscription, active=active, changed=self._wall_ms()
        )

    async def _keep(self, subscription: Subscription) -> Any:
        """On disk first: what we subscribe to is there after a crash as well."""
        await self._state.save(subscription)
        if subscription.active:
            self._source.subscribe(subscription)
            await self._source.settle(subscription.id)
        else:
            self._source.unsubscribe(subscription.id)
        return self._shown(subscription)

    def _find(self, trigger: str) -> Subscription:
        for subscription in self._state.subscriptions(FEED):
            if subscription.id == trigger:
                return subscription
        raise BuiltinError(f"the trigger /{trigger} has no MQTT subscription")

    def _shown(self, subscription: Subscription) -> dict[str, Any]:
        name = subscription.id.removeprefix(f"{subscription.namespace}/")
        own = {"name": name, "namespace": subscription.namespace}
        changed = datetime.fromtimestamp(subscription.changed / 1000, UTC)
        return {
            "config": {**own, **self._config(subscription)},
            "status": {
                "active": subscription.active,
                "dateChanged": subscription.changed,
                "dateChangedISO": changed.isoformat(timespec="milliseconds"),
                **self._source.status(subscription.id),
            },
        }

    def _config(self, subscription: Subscription) -> dict[str, Any]:
        try:
            return self._source.check(subscription.config).shown()
        except BuiltinError:  # the status says what is wrong with it
            return {k: v for k, v in subscription.config.items() if k != "password"}


def _own(arguments: Arguments) -> dict[str, Any]:
    """The subscription's parameters, without what the platform adds."""
    return {
        key: value
        for key, value in arguments.items()
        if key not in LIFECYCLE_KEYS and not key.startswith("__ow_")
    }


def _check_key(identity: Identity, given: Any) -> None:
    if not isinstance(given, str) or not given:
        raise ConfigError("authKey", "is missing; wsk sends the caller's own")
    if not hmac.compare_digest(given.encode(), identity.auth.encode()):
        raise ConfigError("authKey", f"is not a key of {identity.namespace}")


def _trigger(identity: Identity, arguments: Arguments) -> str:
    given = arguments.get("triggerName")
    if not isinstance(given, str) or not given:
        raise ConfigError("triggerName", "is missing; expected /namespace/trigger")
    try:
        name = FullName.parse(given, own=identity.namespace)
    except IllegalName as error:
        raise ConfigError("triggerName", f"{given!r}: {error}") from error
    if name.namespace != identity.namespace:
        problem = f"{given!r} is not in your namespace {identity.namespace}"
        raise ConfigError("triggerName", problem)
    return str(name)


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
