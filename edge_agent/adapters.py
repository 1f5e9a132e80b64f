"""Seams between rooms that must not know each other.

A source knows a sink and no engine, the engine knows results and no events: these are
the few lines that fit one to the other. Used by `app` alone.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edge_agent.engine.builtins import Builtin
from edge_agent.engine.engine import Engine
from edge_agent.engine.text_package import text_package
from edge_agent.events.base import Event, Receipt
from edge_agent.events.feed import (
    PUBLISH,
    PUBLISH_ANNOTATIONS,
    SUBSCRIBE,
    SUBSCRIBE_ANNOTATIONS,
    MqttPackage,
)
from edge_agent.events.invoking import invoke_subscriptions, invoked_action
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.events.replies import outgoing_reply
from edge_agent.events.results import ANNOTATION, outgoing_for, parse_annotation
from edge_agent.events.secret import FOLDER as SECRETS
from edge_agent.events.secret import Secrets
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.entities import Rule, Trigger
from edge_agent.model.errors import (
    BadRequest,
    BuiltinError,
    RequestError,
    SettingsError,
    TooManyRequests,
    Unavailable,
)
from edge_agent.model.feeds import Outgoing
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName, new_activation_id
from edge_agent.settings import Settings
from edge_agent.store.dedup import Key
from edge_agent.store.inbox import Accepted
from edge_agent.store.store import Store
from edge_agent.telemetry.log import of

log = logging.getLogger(__name__)


class NodeSink:
    """The node's own sink: an event fires the trigger its subscription belongs to.

    Those of `invoking` run an action instead.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.engine: Engine | None = None

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        namespace, _, trigger = event.subscription.partition("/")
        identity = self._store.subjects.by_namespace(namespace)
        if self.engine is None or identity is None:
            receipt.set_result(Receipt.REFUSED)
            return receipt
        key = None if event.dedup is None else Key(event.subscription, *event.dedup)
        if key is not None and self._is_repeated(key, receipt):
            return receipt
        name = invoked_action(event.subscription)
        done: asyncio.Future[Any]
        try:
            if name is not None:
                done = self._invoke(self.engine, identity, name, event)
            else:
                done = self.engine.fire(
                    identity,
                    trigger=FullName(namespace, trigger),
                    payload=event.payload,
                    headers={},
                    transaction_id=new_activation_id(),
                    key=key,
                    reply=event.reply,
                    patient=True,
                )
        except (TooManyRequests, Unavailable):  # it stays at its source for now
            receipt.set_result(Receipt.REFUSED)
        except RequestError:  # the trigger is gone: nothing wants this any more
            receipt.set_result(Receipt.UNWANTED)
        else:
            if done.done():  # no active rule: nothing goes to disk
                receipt.set_result(_receipt(done))
            else:
                done.add_done_callback(lambda kept: receipt.set_result(_receipt(kept)))
        return receipt

    @staticmethod
    def _invoke(
        engine: Engine, identity: Identity, name: FullName, event: Event
    ) -> asyncio.Future[str]:
        return engine.post(
            identity,
            action=name,
            payload=event.payload,
            transaction_id=new_activation_id(),
            reply=event.reply,
        )

    def _is_repeated(self, key: Key, receipt: asyncio.Future[Receipt]) -> bool:
        """Whether the event was kept before; then its receipt is that one's."""
        seen = self._store.dedup.seen(key)
        if seen is True:
            receipt.set_result(Receipt.KEPT)
        elif isinstance(seen, asyncio.Future):
            seen.add_done_callback(lambda first: receipt.set_result(_shared(first)))
        return bool(seen)


def _shared(first: asyncio.Future[None]) -> Receipt:
    failed = first.cancelled() or first.exception() is not None
    return Receipt.REFUSED if failed else Receipt.KEPT


def _receipt(fired: asyncio.Future[Any]) -> Receipt:
    if fired.cancelled() or fired.exception() is not None:
        return Receipt.REFUSED
    return Receipt.UNWANTED if fired.result() is None else Receipt.KEPT


class NodeResults:
    """Results of rules that ask for it, on their way to a topic."""

    def __init__(self, source: MqttSource) -> None:
        self._source = source

    def outgoing(
        self, accepted: Accepted, record: ActivationRecord
    ) -> Sequence[Outgoing]:
        found = outgoing_for(
            accepted.result_topic,
            record,
            rule=accepted.rule or "",
            arguments=bytes(accepted.arguments),
        )
        out = [] if accepted.reply is None else [outgoing_reply(accepted.reply, record)]
        if isinstance(found, Outgoing):
            out.append(found)
        elif found is not None:
            log.warning("not published: %s", found, extra=of(record.activation_id))
        return out

    def publish(self, outgoing: Outgoing) -> None:
        self._source.publish(outgoing)


def check_rule(rule: Rule) -> None:
    """Raise BadRequest when the rule's results could not be published."""
    value = rule.annotation(ANNOTATION)
    if value is None:
        return
    try:
        parse_annotation(value)
    except BuiltinError as error:
        raise BadRequest(str(error)) from error


class NodeTriggers:
    """The node's triggers, for alarms that end with theirs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def exists(self, trigger: str) -> bool:
        name = FullName.parse(f"/{trigger}", own="_")
        return self._store.entities.get(Trigger, name) is not None

    async def delete(self, trigger: str, *, rules: bool) -> None:
        """As the catalogue does: rules that stay are switched off."""
        entities = self._store.entities
        name = FullName.parse(f"/{trigger}", own="_")
        entity = entities.get(Trigger, name)
        if entity is None:
            return
        off = [rule for rule in entities.rules_of(name) if rules or rule.active]
        writes = [
            entities.delete(one) if rules else entities.put(replace(one, active=False))
            for one in off
        ]
        done = asyncio.gather(*writes, entities.delete(entity), return_exceptions=True)
        for error in await done:
            if error is not None:
                log.error("trigger %s: not deleted: %s", trigger, error)


def make_mqtt_source(settings: Settings, store: Store, sink: NodeSink) -> MqttSource:
    """The node's MQTT source with its secrets, and what messages may invoke.

    Raises:
        SettingsError: the table `mqtt` is wrong.
    """
    try:
        return MqttSource(
            settings.mqtt,
            store.sources,
            sink,
            client_id=f"edgewhisk-{store.node_id}",
            secrets=Secrets(
                Path.cwd() / settings.data_dir / SECRETS, owner=settings.namespace
            ),
            extra=invoke_subscriptions(
                settings.mqtt.invoke,
                node=settings.node or platform.node(),
                namespace=settings.namespace,
                feed=FEED,
            ),
        )
    except BuiltinError as error:
        raise SettingsError(f"mqtt: {error}") from error


def make_builtins(
    mqtt: MqttPackage, others: Iterable[Builtin]
) -> dict[FullName, Builtin]:
    offered = (
        *others,
        Builtin(SUBSCRIBE, mqtt.subscribe, SUBSCRIBE_ANNOTATIONS),
        Builtin(PUBLISH, mqtt.publish, PUBLISH_ANNOTATIONS),
        *text_package(),
    )
    return {builtin.name: builtin for builtin in offered}
