"""The MQTT source: what triggers subscribe to, and what is published for actions.

It holds the subscriptions of its feed (from its state) and sees to it that each is
on a connection. Subscriptions of one identity share one connection, but for two cases,
in which one goes to the next *lane*, a connection of the same identity and another
client id:

- One trigger is refused for so long that its messages fill half of what the broker
  sends without receipts: the connection becomes its own, and the others move on. What
  the broker has queued for them on the old one is still taken there.
- 3.1.1 only: two filters overlap in part (`a/+` and `+/b`), where a broker may send two
  copies of one message that nothing tells apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from edge_agent.events.base import (
    BuiltinError,
    NotedState,
    Outgoing,
    Sink,
    Subscription,
)
from edge_agent.events.connections import Connections, own_parameters
from edge_agent.events.identity import BrokerIdentity, parse_identity
from edge_agent.events.invoking import is_invoking
from edge_agent.events.mapping import MqttConfig, parse_config
from edge_agent.events.memory import Leftover, Memory
from edge_agent.events.publisher import Publisher
from edge_agent.events.routes import Route
from edge_agent.events.secret import Secrets
from edge_agent.events.shape import BARE
from edge_agent.events.topics import TopicFilter
from edge_agent.settings import Mqtt

if TYPE_CHECKING:
    from edge_agent.events.connection import Connection

__all__ = ["FEED", "Mqtt", "MqttSource", "Secrets", "own_parameters"]

FEED = "whisk.system/mqtt/subscribe"
READY_POLL_S = 0.01
#: How long a feed's CREATE waits for the broker to say yes.
SETTLE_TIMEOUT_S = 2.0
#: Connections of one identity.
LANES_MOST = 8

log = logging.getLogger(__name__)


class _Placed(msgspec.Struct, eq=False):
    """Where a subscription is; `before` are connections that it is leaving."""

    connection: Any
    route: Route
    config: MqttConfig
    subscription: Subscription
    before: list[Any] = []


class MqttSource:
    """A `Source`. All but `run` and `send` return at once; one loop, no locks."""

    def __init__(
        self,
        settings: Mqtt,
        state: NotedState,
        sink: Sink,
        *,
        client_id: str,
        secrets: Secrets | None = None,
        extra: Sequence[Subscription] = (),
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """Store what it needs.

        Args:
            settings: the default broker, and how connections behave.
            state: the subscriptions and the outbox.
            sink: gets the events.
            client_id: the beginning of our client ids. It must be the same after a
                restart and no other client's, or the broker ends one for the other.
            secrets: what `{"secret": "name"}` refers to.
            extra: subscriptions that nobody keeps: see `invoking`.
            wall_ms: the clock of `received` and `since`.
        """
        self._own = own_parameters(settings)
        self._state = state
        self._wall_ms = wall_ms
        self._extra = extra
        self._secrets = secrets or Secrets(None)
        self._connections = Connections(
            settings,
            sink,
            client_id=settings.client_id or client_id,
            secrets=self._secrets,
            wall_ms=wall_ms,
        )
        self._connections.prepare = self._prepare
        self._publisher = Publisher(state, self._publishing)
        self._memory = Memory(state)
        self._placed: dict[str, _Placed] = {}
        self._unusable: dict[str, str] = {}
        self._group: asyncio.TaskGroup | None = None
        self._loaded = False

    async def run(self) -> None:
        """Keep subscriptions alive and publish, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._load_all()
                self._connections.start(group)
                self._loaded = True
                await self._publisher.start(group)
                await asyncio.Event().wait()
            finally:
                self._group = None
                self._connections.start(None)
                self._publisher.stop()

    def stop_taking(self) -> None:
        """Leave new messages to their brokers; receipts and results still go out."""
        self._connections.stop_taking()

    # --- subscriptions --------------------------------------------------------------

    def check(self, parameters: Mapping[str, Any], namespace: str = "") -> MqttConfig:
        """Read the parameters of a subscription.

        Raises:
            BuiltinError: naming what is wrong.
        """
        return parse_config(parameters, namespace=namespace, own=self._own)

    async def check_secrets(self, config: MqttConfig) -> None:
        """Whether what the connection needs can be read.

        Raises:
            BuiltinError: a secret or a certificate cannot be used.
        """
        if config.identity.tls is not None or config.identity.has_secrets:
            from edge_agent.events.tls import open_credentials  # noqa: PLC0415 ssl

            await asyncio.to_thread(open_credentials, config.identity, self._secrets)

    def subscribe(self, subscription: Subscription, *, fresh: bool = True) -> None:
        """Watch for it from now on, in place of what its id had before.

        `fresh`: the trigger has not seen what the broker has retained.

        Raises:
            BuiltinError: its parameters are wrong, or there are too many brokers.
        """
        config = self.check(subscription.config, subscription.namespace)
        if is_invoking(subscription.id):
            config = replace(config, shape=BARE)
        lane = self._memory.lane(subscription.id)
        identity = replace(config.identity, lane=lane)
        before = self._placed.get(subscription.id)
        connection = self._connections.get(identity)
        route = Route.of(subscription.id, config, fresh=fresh)
        placed = _Placed(connection, route, config, subscription)
        self._placed[subscription.id] = placed
        self._unusable.pop(subscription.id, None)
        if before is not None and before.connection is not connection:
            self._remove(before)
        for lower in self._connections.below(identity):
            placed.before.append(lower)
            lower.add(_leaving(route, config))
        gone = connection.add(route)
        if before is not None:
            self._remember(gone, before, connection.identity)

    def unsubscribe(self, subscription_id: str) -> None:
        self._unusable.pop(subscription_id, None)
        placed = self._placed.pop(subscription_id, None)
        if placed is not None:
            self._remove(placed)
            self._memory.set_lane(subscription_id, 0)

    def status(self, subscription_id: str) -> dict[str, Any]:
        """How a subscription is doing; a `state` and nothing else when it is off."""
        if subscription_id in self._unusable:
            return {"state": "unusable", "error": self._unusable[subscription_id]}
        placed = self._placed.get(subscription_id)
        if placed is None:
            return {"state": "paused"}
        connection = placed.connection
        return {**connection.status(), **connection.subscription(placed.route)}

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
        waits: bool = placed.connection.expects_answer(placed.route)
        return waits

    # --- publishing -----------------------------------------------------------------

    def publish(self, outgoing: Outgoing) -> None:
        """Send a result that is, or is about to be, in the outbox."""
        self._publisher.publish(outgoing)

    async def send(self, outgoing: Outgoing) -> None:
        """Publish and wait for the broker's receipt; nothing is kept on disk.

        Raises:
            BuiltinError: it is refused, or there is no room.
        """
        await self._publisher.send(outgoing)

    def publishing_state(self, namespace: str, broker: str) -> str:
        """Why nothing comes back from a broker, for an error text."""
        status = self._at(namespace, broker).status()
        return str(status["error"] or status["state"])

    def _publishing(self, outgoing: Outgoing) -> Connection:
        """The connection of the subscription it answers, or one of the namespace."""
        placed = self._placed.get(outgoing.via)
        if placed is not None and placed.subscription.namespace == outgoing.namespace:
            connection: Connection = placed.connection
            return connection
        return self._at(outgoing.namespace, outgoing.broker)

    def _at(self, namespace: str, broker: str) -> Connection:
        """A connection to the broker: one the namespace subscribes by, or a new one."""
        broker = broker or self._own["broker"]
        found = self._connections.at(namespace, broker)
        if found is not None:
            return found
        given = {"broker": broker}
        identity = parse_identity(given, namespace=namespace, own=self._own)
        return self._connections.get(identity)

    # --- health ---------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it runs, connected to every broker, every subscription answered."""
        return self._loaded and all(one.ready for one in self._connections)

    async def wait_until_ready(self) -> None:
        await _until(lambda: self.ready)

    def health(self) -> dict[str, Any]:
        return {
            "brokers": [one.health() for one in self._connections],
            "unusable": [
                {"id": one, "error": error} for one, error in self._unusable.items()
            ],
        }

    # --- inside ---------------------------------------------------------------------

    def _load_all(self) -> None:
        leftovers = self._memory.load(self._wall_ms())
        for subscription in (*self._extra, *self._state.subscriptions(FEED)):
            if subscription.active and subscription.id not in self._placed:
                self._load(subscription)
        for one in leftovers:
            with suppress(BuiltinError):  # its connection cannot be any more
                config = self.check(one.config, one.namespace)
                identity = replace(config.identity, lane=one.lane)
                self._memory.leave(identity, [one])
                self._connections.get(identity).drop({TopicFilter(one.filter)})

    def _load(self, subscription: Subscription) -> None:
        try:
            self.subscribe(subscription, fresh=False)
        except BuiltinError as error:
            # Written by another release, or by hand: shown, and no reason to stop.
            self._unusable[subscription.id] = str(error)
            log.error("%s: %s", subscription.id, error)  # noqa: TRY400 no fault of ours

    def _prepare(self, connection: Connection) -> None:
        identity = connection.identity
        connection.on_let_go = lambda one: self._memory.let_go(identity, one)
        connection.on_stuck = lambda stuck: self._move_others(connection, stuck)
        connection.on_overlap = self._move_overlapping

    def _remove(self, placed: _Placed) -> None:
        for connection in (placed.connection, *placed.before):
            gone = connection.remove(placed.subscription.id)
            self._remember(gone, placed, connection.identity)

    def _remember(
        self, gone: set[TopicFilter], placed: _Placed, identity: BrokerIdentity
    ) -> None:
        if not gone:
            return
        expiry_ms = placed.config.identity.session_expiry_s * 1000
        self._memory.leave(
            identity,
            [
                Leftover(
                    namespace=placed.subscription.namespace,
                    config=placed.subscription.config,
                    filter=str(one),
                    lane=identity.lane,
                    until_ms=self._wall_ms() + expiry_ms,
                )
                for one in gone
            ],
        )

    # --- lanes ----------------------------------------------------------------------

    def _move_others(self, connection: Connection, stuck: str) -> None:
        """`stuck` keeps the connection; each other one gets along without it."""
        lane = connection.identity.lane + 1
        others = [
            one
            for one in self._placed.values()
            if one.connection is connection and one.subscription.id != stuck
        ]
        if not others or lane >= LANES_MOST or self._group is None:
            return
        text = "%s: %s is refused for long; %d others leave it this connection"
        log.warning(text, connection.identity.broker, stuck, len(others))
        for one in others:
            self._next_lane(one, leave=True)

    def _move_overlapping(self, subscription: str) -> None:
        placed = self._placed.get(subscription)
        if placed is not None and placed.connection.identity.lane + 1 < LANES_MOST:
            self._next_lane(placed, leave=False)

    def _next_lane(self, placed: _Placed, *, leave: bool) -> None:
        """`leave`: take what the broker has queued on the old connection there."""
        before = placed.connection
        identity = replace(before.identity, lane=before.identity.lane + 1)
        self._memory.set_lane(placed.subscription.id, identity.lane)
        try:
            after = self._connections.get(identity)
        except BuiltinError as error:  # too many: it stays where it is
            log.warning("%s: %s", placed.subscription.id, error)
            return
        placed.connection = after
        if not leave:
            before.remove(placed.subscription.id)
            after.add(placed.route)
            return
        route = placed.route
        placed.route = replace(route, fresh=False)
        after.add(placed.route)
        placed.before.append(before)
        if self._group is not None:
            leaving = self._leave(placed, before, route)
            self._group.create_task(leaving, name=f"mqtt lane of {route.subscription}")

    async def _leave(self, placed: _Placed, before: Connection, route: Route) -> None:
        """Unsubscribe on the old connection once the new one gets the messages."""
        here = placed.connection
        name = placed.subscription.id
        await _until(lambda: here.grants(name) or self._placed.get(name) is not placed)
        if self._placed.get(name) is placed:
            self._remember(before.retire(route), placed, before.identity)


def _leaving(route: Route, config: MqttConfig) -> Route:
    return replace(Route.of(route.subscription, config, fresh=False), leaving=True)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 rare and short; no event has all of it
        await asyncio.sleep(READY_POLL_S)
