"""The connections of a node: one for each broker identity, made when it is needed.

They import paho, so they are imported when the first one is made: a node without MQTT
does not pay for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from edge_agent.events.address import parse_addresses
from edge_agent.events.base import BuiltinError, ConfigError, Sink
from edge_agent.events.identity import BrokerIdentity, parse_identity
from edge_agent.events.secret import Secrets, of_node
from edge_agent.settings import Mqtt

if TYPE_CHECKING:
    from edge_agent.events.connection import Connection

#: Brokers that a node talks to at once.
CONNECTIONS_MOST = 64


class Connections:
    """Owns them. `prepare` is called with each new one before it starts."""

    def __init__(
        self,
        settings: Mqtt,
        sink: Sink,
        *,
        client_id: str,
        secrets: Secrets,
        wall_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._client_id = client_id
        self._secrets = secrets
        self._wall_ms = wall_ms
        self._group: asyncio.TaskGroup | None = None
        self._connections: dict[BrokerIdentity, Connection] = {}
        self._taking = True
        self.prepare: Callable[[Connection], None] = lambda _: None

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def start(self, group: asyncio.TaskGroup | None) -> None:
        """Run those that are there and those to come in `group`; None: no more."""
        self._group = group
        if group is not None:
            for connection in self:
                self._run(connection, group)

    @property
    def running(self) -> bool:
        return self._group is not None

    def stop_taking(self) -> None:
        self._taking = False
        for connection in self:
            connection.stop_taking()

    def get(self, identity: BrokerIdentity) -> Connection:
        """The identity's own, made if there is none.

        Raises:
            BuiltinError: there are too many, or another one is this client.
        """
        connection = self._connections.get(identity)
        if connection is not None and not connection.finished:
            return connection
        self._check_new(identity)
        connection = self._make(identity)
        self._connections[identity] = connection
        if self._group is not None:
            self._run(connection, self._group)
        return connection

    def at(self, namespace: str, broker: str) -> Connection | None:
        """One that the namespace has to the broker for any reason."""
        addresses = parse_addresses(broker)
        for identity, connection in self._connections.items():
            same = identity.namespace == namespace and identity.addresses == addresses
            if same and not connection.finished:
                return connection
        return None

    def below(self, identity: BrokerIdentity) -> list[Connection]:
        """Those of the lanes below the identity's own."""
        return [self.get(replace(identity, lane=lane)) for lane in range(identity.lane)]

    def _make(self, identity: BrokerIdentity) -> Connection:
        from edge_agent.events.connection import Connection  # noqa: PLC0415 loads paho

        connection = Connection(
            identity,
            client_id=identity.client(self._client_id),
            settings=self._settings,
            secrets=self._secrets,
            sink=self._sink,
            wall_ms=self._wall_ms,
        )
        if not self._taking:
            connection.stop_taking()
        self.prepare(connection)
        return connection

    def _check_new(self, identity: BrokerIdentity) -> None:
        if len(self._connections) >= CONNECTIONS_MOST:
            text = f"this node talks to {CONNECTIONS_MOST} brokers already"
            raise BuiltinError(text)
        client = identity.client(self._client_id)
        for other, connection in self._connections.items():
            same = client == connection.client_id
            if same and other.addresses == identity.addresses and connection.used:
                problem = (
                    f"{client!r} is a connection with other parameters already; "
                    "give them to both triggers, or another client_id"
                )
                raise ConfigError("client_id", problem)

    def _run(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        name = f"mqtt[{connection.identity.namespace}@{connection.identity.broker}]"
        task = group.create_task(connection.run(), name=name)
        task.add_done_callback(lambda _: self._ended(connection))

    def _ended(self, connection: Connection) -> None:
        if self._connections.get(connection.identity) is connection:
            del self._connections[connection.identity]


def own_parameters(settings: Mqtt) -> dict[str, Any]:
    """The node's own connection, as the parameters of a subscription.

    Raises:
        BuiltinError: the settings are wrong.
    """
    given = msgspec.to_builtins(settings)
    own = {
        key: of_node(given[key]) for key in _OWN if given[key] not in (None, "", False)
    }
    own["broker"] = given["broker"]
    parse_addresses(own["broker"])
    parse_identity({}, namespace="", own=own)
    return own


_OWN = ("username", "password", "tls", "version", "session_expiry_s", "will")
