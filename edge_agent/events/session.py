"""One life of a connection: from CONNECT to its end. `connection` makes the next one.

The session at the *broker* outlives it (clean start is off, it expires after days), so
the broker keeps what was not acknowledged and what comes while we are away.

Besides what is asked for it listens to one figure of the broker's own (`dropped`): a
queue that was too short there has lost messages that nobody here ever saw.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.events.client import LoopClient, MQTTv5, MQTTv311
from edge_agent.events.identity import BrokerIdentity
from edge_agent.events.intake import Intake
from edge_agent.events.outlet import Allowance, Outlet
from edge_agent.events.packets import Message, encode_puback
from edge_agent.events.refusal import Lost, Refused
from edge_agent.events.routes import Routes
from edge_agent.events.tls import Credentials
from edge_agent.events.topics import TopicFilter
from edge_agent.settings import Mqtt

LEAVE_TIMEOUT_S = 1.0
LEAVE_POLL_S = 0.005
#: A refused subscription is tried again: the broker's rules may have changed.
REFUSED_AGAIN_S = 60.0
#: Larger messages than this fit no trigger by far; the broker leaves them out.
LARGEST_PACKET_BYTES = 8 << 20
#: What 3.1.1 brokers take at once without being asked (mosquitto's default).
IN_FLIGHT_3 = 20
IN_FLIGHT_MOST = 1000
FIRST_FAILURE = 0x80
#: How many messages the broker has thrown away since it started (mosquitto).
DROPPED = "$SYS/broker/publish/messages/dropped"

log = logging.getLogger(__name__)


class Session:
    """Owns one client, and what it has subscribed to."""

    def __init__(
        self,
        connected: socket.socket,
        *,
        version_5: bool,
        identity: BrokerIdentity,
        credentials: Credentials,
        client_id: str,
        settings: Mqtt,
        routes: Routes,
        outlet: Outlet,
    ) -> None:
        self._identity = identity
        self._credentials = credentials
        self._keepalive_s = identity.keepalive_s or settings.keepalive_s
        self._settings = settings
        self._routes = routes
        self._outlet = outlet
        self._version_5 = version_5
        self._intake: Intake | None = None
        self._identifiers = False
        self._asked: dict[TopicFilter, tuple[int, int]] = {}
        self._pending: dict[int, TopicFilter] = {}
        self._unsubscribing: dict[int, TopicFilter] = {}
        #: The QoS that was granted, or why it was refused.
        self.granted: dict[TopicFilter, int | str] = {}
        #: Called with a filter that the broker has let go of.
        self.on_let_go: Callable[[TopicFilter], None] = lambda _: None
        #: What the broker tells of `DROPPED`; None where it tells nothing.
        self.dropped: int | None = None
        self._crowded = False
        self._client = LoopClient(
            connected,
            protocol=MQTTv5 if version_5 else MQTTv311,
            client_id=client_id,
            persistent=identity.session_expiry_s > 0,
            on_publish_packet=self._take,
            on_puback_packet=outlet.acknowledged,
        )
        self._connected = connected
        loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[Properties | None] = loop.create_future()
        self._ended: asyncio.Future[str] = loop.create_future()
        self._refused_at = loop.time()

    @property
    def version(self) -> str:
        return "5" if self._version_5 else "3.1.1"

    @property
    def version_5(self) -> bool:
        return self._version_5

    @property
    def window(self) -> int:
        """How many messages the broker sends without a receipt."""
        return self._settings.receive_maximum if self._version_5 else IN_FLIGHT_3

    @property
    def intake(self) -> Intake | None:
        return self._intake

    def acknowledge(self, packet_id: int) -> None:
        self._client.write(encode_puback(packet_id))
        if self._crowded and self._unacknowledged <= self.window:
            self._crowded = False
            self._client.set_reading(on=True)

    @property
    def _unacknowledged(self) -> int:
        return 0 if self._intake is None else self._intake.unacknowledged

    async def open(
        self, intake: Intake, stale: set[TopicFilter], *, timeout_s: float
    ) -> None:
        """Be connected and subscribed.

        Args:
            intake: takes what arrives.
            stale: filters that the broker's session may still have; dropped from it.
            timeout_s: how long the broker may take to answer.

        Raises:
            Refused: by the broker.
            Lost: the connection ended, or nothing came in time.
        """
        self._intake = intake
        self._connect()
        try:
            async with asyncio.timeout(timeout_s):
                properties = await self._accepted
        except TimeoutError as error:
            raise Lost(
                "the broker accepted the connection, but says nothing"
            ) from error
        self._identifiers = self._version_5 and bool(
            getattr(properties, "SubscriptionIdentifierAvailable", 1)
        )
        self._outlet.attach(self._client, self._allowance(properties))
        self.sync()
        self.let_go(stale)
        if len(self._routes):
            self._client.subscribe(DROPPED, 0)

    async def serve(self, *, until: Callable[[], bool]) -> str | None:
        """Keep the connection until it ends: the reason; None: until `until`."""
        while not self._ended.done():
            if until():
                return None
            # paho pings after keepalive_s without traffic; the broker allows 1.5 times.
            tick_s = self._keepalive_s / 4
            await asyncio.wait({self._ended}, timeout=tick_s)
            self._client.loop_misc()
            self._ask_again()
        return self._ended.result()

    def sync(self, *, again: TopicFilter | None = None) -> None:
        """Bring the broker's subscriptions in line with the routes.

        New ones first: between the two, a message comes twice rather than not at all.
        `again` is subscribed although it is: the broker sends what it has retained.
        """
        wanted = self._routes.wanted(identifiers=self._identifiers)
        for one, qos in wanted.items():
            asked = (qos, self._routes.identifier(one))
            if self._asked.get(one) != asked or one == again:
                self._asked[one] = asked
                self.granted.pop(one, None)
                self._subscribe(one, *asked)
        for one in [one for one in self._asked if one not in wanted]:
            del self._asked[one]
            self.granted.pop(one, None)
            self._unsubscribe(one)

    def let_go(self, filters: set[TopicFilter]) -> None:
        """See to it that the broker has none of them, or has it for a new reason."""
        under_way = set(self._unsubscribing.values())
        for one in filters:
            if one in self._asked:
                self.on_let_go(one)
            elif one not in under_way:
                self._unsubscribe(one)

    async def leave(self) -> None:
        """Wait a moment for receipts that are out, then say goodbye."""
        intake = self._intake
        if intake is not None:
            intake.stop_taking()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + LEAVE_TIMEOUT_S
            while not self._ended.done() and loop.time() < deadline:
                if not intake.offered and not self._outlet.in_flight:
                    break
                await asyncio.sleep(LEAVE_POLL_S)
        self._client.disconnect(properties=self._goodbye())
        self._client.flush()

    def close(self) -> None:
        if self._intake is not None:
            self._intake.close()
        self._outlet.detach()
        for future in (self._accepted, self._ended):
            future.cancel()
        self._client.drop("closed")
        self._connected.close()

    # --- what paho tells ------------------------------------------------------------

    def _on_connect(
        self,
        _client: Any,
        _data: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if self._accepted.done():
            return
        if self._intake is not None:
            self._intake.session_present = flags.session_present
        if reason.is_failure:
            name = str(reason.getName())
            version = name == "Unsupported protocol version"
            text = f"the broker refused the connection: {name}"
            self._accepted.set_exception(Refused(text, version=version))
        else:
            self._accepted.set_result(properties)

    def _on_disconnect(
        self,
        _client: Any,
        _data: Any,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        problem = self._client.problem or "the connection was lost"
        if flags.is_disconnect_packet_from_server:
            problem = f"the broker ended the connection: {reason.getName()}"
        if not self._accepted.done():
            self._accepted.set_exception(Lost(problem))
        if not self._ended.done():
            self._ended.set_result(problem)

    def _on_subscribe(
        self,
        _client: Any,
        _data: Any,
        packet_id: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        asked = self._pending.pop(packet_id, None)
        if asked is None or asked not in self._asked:
            return
        reason = reasons[0]
        if reason.value >= FIRST_FAILURE:
            self.granted[asked] = str(reason.getName())
            where = self._identity.broker
            log.warning("%s refused to subscribe %s: %s", where, asked, reason)
        else:
            self.granted[asked] = reason.value

    def _on_unsubscribe(
        self,
        _client: Any,
        _data: Any,
        packet_id: int,
        _reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        gone = self._unsubscribing.pop(packet_id, None)
        if gone is not None:
            self.on_let_go(gone)

    def _take(self, message: Message) -> None:
        if message.topic == DROPPED and not self._note_dropped(message):
            return
        if self._intake is not None:
            self._intake.take(message)
            if self._unacknowledged > 2 * self.window and not self._crowded:
                self._crowded = True
                self._client.set_reading(on=False)

    def _note_dropped(self, message: Message) -> bool:
        """Whether the message is for a trigger as well."""
        if message.payload.isdigit():
            self.dropped = int(message.payload)
        if self._version_5:
            return bool(message.identifiers)
        return bool(self._routes.of(message.topic, ()))

    # --- what paho is told ----------------------------------------------------------

    def _connect(self) -> None:
        client = self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        if self._credentials.username is not None:
            given = self._credentials
            client.username_pw_set(given.username, given.password)
        self._set_will()
        # Whom the socket is connected to is known; paho only wants to have it said.
        address = self._identity.addresses[0]
        if not self._version_5:
            client.connect(address.host, address.port, self._keepalive_s)
            return
        properties = _properties(
            PacketTypes.CONNECT,
            SessionExpiryInterval=self._identity.session_expiry_s,
            ReceiveMaximum=self._settings.receive_maximum,
            MaximumPacketSize=LARGEST_PACKET_BYTES,
        )
        client.connect(
            address.host,
            address.port,
            self._keepalive_s,
            clean_start=self._identity.session_expiry_s == 0,
            properties=properties,
        )

    def _set_will(self) -> None:
        will = self._identity.will
        if will is not None:
            payload = self._credentials.will
            self._client.will_set(will.topic, payload, will.qos, will.retain)

    def _subscribe(self, one: TopicFilter, qos: int, identifier: int) -> None:
        if self._version_5:
            properties = None
            if self._identifiers:
                properties = _properties(
                    PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier
                )
            handling = self._routes.handling(one)
            options = SubscribeOptions(qos=qos, retainHandling=int(handling))
            if one.group is not None:
                options = SubscribeOptions(qos=qos)
            _, packet_id = self._client.subscribe(
                str(one), options=options, properties=properties
            )
        else:
            _, packet_id = self._client.subscribe(str(one), qos)
        if packet_id is not None:
            self._pending[packet_id] = one

    def _unsubscribe(self, one: TopicFilter) -> None:
        _, packet_id = self._client.unsubscribe(str(one))
        if packet_id is not None:
            self._unsubscribing[packet_id] = one

    def _ask_again(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._refused_at < REFUSED_AGAIN_S or self._ended.done():
            return
        self._refused_at = now
        for one in [f for f, g in self.granted.items() if isinstance(g, str)]:
            self._subscribe(one, *self._asked[one])

    def _allowance(self, properties: Properties | None) -> Allowance:
        if not self._version_5:
            return Allowance(IN_FLIGHT_3)
        most = getattr(properties, "ReceiveMaximum", IN_FLIGHT_MOST)
        return Allowance(
            in_flight=min(most, IN_FLIGHT_MOST),
            qos=getattr(properties, "MaximumQoS", 1),
            packet_bytes=getattr(properties, "MaximumPacketSize", 268_435_455),
        )

    def _goodbye(self) -> Properties | None:
        """Without subscriptions the broker need not keep the session."""
        if not self._version_5 or len(self._routes):
            return None
        return _properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0)


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
