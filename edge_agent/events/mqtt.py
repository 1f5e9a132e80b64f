"""The MQTT source: what triggers subscribe to, and what is published for actions.

It holds the subscriptions of its feed (from `SourceState`), one connection for each
broker identity and namespace, and the outbox on its way out. The connections import
paho, so they are imported when the first one is made: a node without MQTT does not pay
for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.events.base import (
    BuiltinError,
    Outgoing,
    Sink,
    SourceState,
    Subscription,
)
from edge_agent.events.mapping import (
    Address,
    BrokerIdentity,
    MqttConfig,
    parse_config,
)
from edge_agent.events.outlet import MOST_WAITING, Publication
from edge_agent.events.routes import Route
from edge_agent.events.topics import Topic
from edge_agent.settings import Mqtt

if TYPE_CHECKING:
    from edge_agent.events.connection import Connection

__all__ = ["FEED", "Mqtt", "MqttSource"]

FEED = "whisk.system/mqtt/subscribe"
#: Brokers that a node talks to at once.
CONNECTIONS_MOST = 64
READY_POLL_S = 0.01
#: How long a feed's CREATE waits for the broker to say yes.
SETTLE_TIMEOUT_S = 2.0

log = logging.getLogger(__name__)


class MqttSource:
    """A `Source`. All but `run` and `send` return at once; one loop, no locks."""

    def __init__(
        self,
        settings: Mqtt,
        state: SourceState,
        sink: Sink,
        *,
        client_id: str,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """Store what it needs.

        Args:
            settings: the default broker, and how connections behave.
            state: the subscriptions and the outbox.
            sink: gets the events.
            client_id: the beginning of our client ids. It must be the same after a
                restart and no other client's, or the broker ends one for the other.
            wall_ms: the clock of `received` and `since`.
        """
        self._settings = settings
        self._state = state
        self._sink = sink
        self._client_id = client_id
        self._wall_ms = wall_ms
        self._group: asyncio.TaskGroup | None = None
        self._connections: dict[BrokerIdentity, Connection] = {}
        self._placed: dict[str, tuple[Connection, Route]] = {}
        self._unusable: dict[str, str] = {}
        self._queued: set[str] = set()
        self._left_behind = False
        self._taking = True
        self._loaded = False

    async def run(self) -> None:
        """Keep subscriptions alive and publish, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for connection in self._connections.values():
                    self._start(connection, group)
                for subscription in self._state.subscriptions(FEED):
                    self._load(subscription)
                self._loaded = True
                await self._resend()
                await asyncio.Event().wait()
            finally:
                self._group = None

    def stop_taking(self) -> None:
        """Leave new messages to their brokers; receipts and results still go out."""
        self._taking = False
        for connection in self._connections.values():
            connection.stop_taking()

    # --- subscriptions --------------------------------------------------------------

    def check(self, parameters: dict[str, Any]) -> MqttConfig:
        """Read the parameters of a subscription.

        Raises:
            BuiltinError: naming what is wrong.
        """
        return parse_config(parameters, default_broker=self._settings.broker)

    def subscribe(self, subscription: Subscription) -> None:
        """Watch for it from now on, in place of what its id had before.

        Raises:
            BuiltinError: its parameters are wrong, or there are too many brokers.
        """
        config = self.check(subscription.config)
        identity = config.identity(subscription.namespace)
        connection = self._connection(identity)
        route = Route(subscription.id, config.topic, config.qos, config.payload)
        before = self._placed.get(subscription.id)
        self._placed[subscription.id] = connection, route
        self._unusable.pop(subscription.id, None)
        connection.add(route)
        if before is not None and before[0] is not connection:
            before[0].remove(subscription.id)

    def unsubscribe(self, subscription_id: str) -> None:
        self._unusable.pop(subscription_id, None)
        placed = self._placed.pop(subscription_id, None)
        if placed is not None:
            placed[0].remove(subscription_id)

    def status(self, subscription_id: str) -> dict[str, Any]:
        """How a subscription is doing; a `state` and nothing else when it is off."""
        if subscription_id in self._unusable:
            return {"state": "unusable", "error": self._unusable[subscription_id]}
        placed = self._placed.get(subscription_id)
        if placed is None:
            return {"state": "paused"}
        connection, route = placed
        return {**connection.status(), **connection.subscription(route)}

    async def settle(self, subscription_id: str) -> None:
        """Wait a moment for the broker's answer, so that what comes next is not missed.

        It ends at once where nothing can be waited for: the broker is down, or the
        subscription is off.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await _until(lambda: not self._is_open(subscription_id))

    def _is_open(self, subscription_id: str) -> bool:
        placed = self._placed.get(subscription_id)
        if placed is None or self._group is None:
            return False
        return placed[0].expects_answer(placed[1])

    # --- publishing -----------------------------------------------------------------

    def publish(self, outgoing: Outgoing) -> None:
        """Send a result that is, or is about to be, in the outbox; at once if it can.

        Its row is deleted when the broker has acknowledged it. What cannot be sent ever
        is logged, counted and deleted as well; what there is no room for stays in the
        outbox until there is.
        """
        if outgoing.id in self._queued:
            return
        try:
            connection = self._publisher(outgoing.namespace, outgoing.broker)
            publication = _publication(outgoing, partial(self._sent, outgoing))
        except BuiltinError as error:
            self._give_up(outgoing, str(error))
            return
        self._queued.add(outgoing.id)  # before: at QoS 0 it is out within `publish`
        if not connection.publish(publication):
            self._queued.discard(outgoing.id)
            self._left_behind = True

    async def send(self, outgoing: Outgoing) -> None:
        """Publish and wait for the broker's receipt; nothing is kept on disk.

        Raises:
            BuiltinError: it is refused, or there is no room.

        When it is cancelled, what was not sent yet never is.
        """
        connection = self._publisher(outgoing.namespace, outgoing.broker)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def done(problem: str | None) -> None:
            if not answer.done():
                answer.set_result(problem)

        publication = _publication(outgoing, done)
        if not connection.publish(publication):
            raise BuiltinError("too many messages wait to be published to this broker")
        try:
            problem = await answer
        finally:
            connection.outlet.withdraw(publication)
        if problem is not None:
            raise BuiltinError(f"the broker refused the message: {problem}")

    def publishing_state(self, namespace: str, broker: str) -> str:
        """Why nothing comes back from a broker, for an error text."""
        status = self._publisher(namespace, broker).status()
        return str(status["error"] or status["state"])

    # --- health ---------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it runs, connected to every broker, every subscription answered."""
        return self._loaded and all(one.ready for one in self._connections.values())

    async def wait_until_ready(self) -> None:
        await _until(lambda: self.ready)

    def health(self) -> dict[str, Any]:
        return {
            "brokers": [one.health() for one in self._connections.values()],
            "unusable": [
                {"id": one, "error": error} for one, error in self._unusable.items()
            ],
        }

    # --- inside ---------------------------------------------------------------------

    def _load(self, subscription: Subscription) -> None:
        if not subscription.active or subscription.id in self._placed:
            return
        try:
            self.subscribe(subscription)
        except BuiltinError as error:
            # Written by another release, or by hand: shown, and no reason to stop.
            self._unusable[subscription.id] = str(error)
            log.error("%s: %s", subscription.id, error)  # noqa: TRY400 no fault of ours

    def _connection(self, identity: BrokerIdentity) -> Connection:
        from edge_agent.events.connection import Connection  # noqa: PLC0415 loads paho

        connection = self._connections.get(identity)
        if connection is not None and not connection.finished:
            return connection
        if len(self._connections) >= CONNECTIONS_MOST:
            text = f"this node talks to {CONNECTIONS_MOST} brokers already"
            raise BuiltinError(text)
        connection = Connection(
            identity,
            client_id=f"{self._client_id}-{identity.digest}",
            settings=self._settings,
            sink=self._sink,
            wall_ms=self._wall_ms,
        )
        self._connections[identity] = connection
        if not self._taking:
            connection.stop_taking()
        if self._group is not None:
            self._start(connection, self._group)
        return connection

    def _start(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        name = f"mqtt[{connection.identity.namespace}@{connection.identity.address}]"
        task = group.create_task(connection.run(), name=name)
        task.add_done_callback(lambda _: self._ended(connection))

    def _ended(self, connection: Connection) -> None:
        if self._connections.get(connection.identity) is connection:
            del self._connections[connection.identity]

    def _publisher(self, namespace: str, broker: str) -> Connection:
        """A connection of the namespace to the broker: one it subscribes by, or new."""
        address = Address.parse(broker or self._settings.broker)
        for identity, connection in self._connections.items():
            here = identity.namespace == namespace and identity.address == address
            if here and not connection.finished:
                return connection
        return self._connection(BrokerIdentity(namespace, address))

    def _sent(self, outgoing: Outgoing, problem: str | None) -> None:
        self._queued.discard(outgoing.id)
        if problem is not None:
            self._give_up(outgoing, problem)
        else:
            self._state.sent(outgoing.id)
        few = len(self._queued) <= MOST_WAITING // 2
        if self._left_behind and few and self._group is not None:
            self._left_behind = False
            self._group.create_task(self._resend(), name="mqtt outbox")

    def _give_up(self, outgoing: Outgoing, problem: str) -> None:
        log.error(
            "result %s for %s is left out: %s", outgoing.id, outgoing.topic, problem
        )
        self._state.sent(outgoing.id)

    async def _resend(self) -> None:
        for outgoing in await self._state.outbox():
            self.publish(outgoing)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 rare and short; no event has all of it
        await asyncio.sleep(READY_POLL_S)


def _publication(outgoing: Outgoing, done: Callable[[str | None], None]) -> Publication:
    topic = str(Topic(outgoing.topic)).encode()
    return Publication(
        topic=topic,
        payload=outgoing.payload,
        qos=min(outgoing.qos, 1),
        retain=outgoing.retain,
        done=done,
    )
