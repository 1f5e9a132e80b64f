"""Activations told to a topic of MQTT as they end, for whoever is to hear. For `app`.

Only where `mqtt.activations_topic` says so. What is told is OpenWhisk's user event
(E13), at most once: nothing is kept on disk, and what the broker does not take in time
is dropped, oldest first, and counted. The way of an activation is not touched: the live
stream has a bounded queue for us as for any other watcher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from edge_agent.events.base import BuiltinError
from edge_agent.events.mqtt import MqttSource
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.feeds import Outgoing
from edge_agent.model.names import SYSTEM_NAMESPACE
from edge_agent.telemetry.stream import ALL, ActivationStream, Subscriber
from edge_agent.telemetry.user_events import UserEvent, encode, event_of

#: How long ends are gathered before they are told.
PAUSE_S = 0.1

log = logging.getLogger(__name__)


class Announcer:
    """`topic` may have `{node}`, `{namespace}` and `{action}`; without one it is idle.

    `user_id` gives the id of a namespace's user.
    """

    def __init__(
        self,
        topic: str,
        *,
        node: str,
        stream: ActivationStream,
        source: MqttSource,
        user_id: Callable[[str], str],
    ) -> None:
        self._topic = topic
        self._node = node
        self._stream = stream
        self._source = source
        self._user_id = user_id
        self._watching: Subscriber[ActivationRecord] | None = None
        self.told = 0
        self.failed = 0

    async def run(self) -> None:
        if not self._topic:
            await asyncio.Event().wait()  # until it is cancelled
        with self._stream.subscribe(ALL) as watching:
            self._watching = watching
            while True:
                for record in await watching.take():
                    await self._tell(record)
                await asyncio.sleep(PAUSE_S)

    def health(self) -> dict[str, Any]:
        missed = self._watching.missed if self._watching is not None else 0
        return {"told": self.told, "failed": self.failed, "dropped": missed}

    async def _tell(self, record: ActivationRecord) -> None:
        event = event_of(record, user_id=self._user_id(record.namespace))
        if event is None:
            return
        try:
            await self._source.send(
                Outgoing(
                    id=record.activation_id,
                    namespace=SYSTEM_NAMESPACE,
                    topic=self._place(event),
                    payload=encode(event),
                    qos=0,
                )
            )
            self.told += 1
        except BuiltinError as error:
            if not self.failed:
                log.warning("activations are not told to %s: %s", self._topic, error)
            self.failed += 1

    def _place(self, event: UserEvent) -> str:
        given = {
            "node": self._node,
            "namespace": event.namespace,
            "action": event.body.name.partition("/")[2],
        }
        topic = self._topic
        for name, value in given.items():
            topic = topic.replace(f"{{{name}}}", value)
        return topic
