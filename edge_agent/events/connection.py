"""One connection to one broker in one namespace: it is kept up for ever.

    waiting ──(back-off over)──> connecting ──(CONNACK)──> connected
       ^                             │                         │
       └──────────(refused, lost)────┴────────(lost)───────────┘

MQTT 5 is asked for first. A broker that refuses it, hangs up on it or has nothing to
say to it (amqtt takes its properties for a client id of some thousand bytes and waits
for them) is asked for 3.1.1 at once, and so for an hour. One that has spoken 5 is
believed to do so again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from edge_agent.events.backoff import Backoff
from edge_agent.events.base import Sink
from edge_agent.events.client import dial
from edge_agent.events.intake import Intake
from edge_agent.events.mapping import BrokerIdentity
from edge_agent.events.outlet import Outlet, Publication
from edge_agent.events.routes import Counts, Route, Routes
from edge_agent.events.session import (
    Lost,
    Refused,
    Session,
    puback_reason,
)
from edge_agent.events.topics import TopicFilter
from edge_agent.settings import Mqtt

DIAL_TIMEOUT_S = 5.0
#: A broker answers at once; one that has never spoken MQTT 5 gets less time to.
CONNACK_TIMEOUT_S = 5.0
FIRST_CONNACK_TIMEOUT_S = 1.5
ASK_5_AGAIN_S = 3600.0
#: A connection that held this long was a good one: the next wait is short again.
GOOD_S = 5.0
#: A connection without subscriptions is given up when nothing was published so long.
IDLE_S = 60.0

log = logging.getLogger(__name__)


class State(StrEnum):
    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Connection:
    """Owns the routes, the outlet and the session of one broker identity."""

    def __init__(
        self,
        identity: BrokerIdentity,
        *,
        client_id: str,
        settings: Mqtt,
        sink: Sink,
        wall_ms: Callable[[], int],
    ) -> None:
        self.identity = identity
        self.client_id = client_id
        self.outlet = Outlet(reason_text=puback_reason)
        self._settings = settings
        self._sink = sink
        self._wall_ms = wall_ms
        self._routes = Routes()
        self._counts = Counts()
        self._stale: set[TopicFilter] = set()
        self._session: Session | None = None
        self._state = State.WAITING
        self._since_ms = wall_ms()
        self._error: str | None = None
        self._lived_s = 0.0
        self._speaks_5: bool | None = None
        self._ask_5_at = 0.0
        self._taking = True
        self._busy_at = self._loop_s()
        #: Set when it ends by itself; what comes after needs another one.
        self.finished = False

    @property
    def state(self) -> State:
        return self._state

    @property
    def ready(self) -> bool:
        """Connected, and every subscription granted or refused."""
        return self._session is not None and all(
            self._granted(route) is not None for route in self._routes
        )

    def expects_answer(self, route: Route) -> bool:
        """Whether the broker will soon grant or refuse: nothing has gone wrong yet."""
        return self._error is None and self._granted(route) is None

    @property
    def idle(self) -> bool:
        return not len(self._routes) and self.outlet.idle

    def add(self, route: Route) -> None:
        """Subscribe `route`, now if there is a connection, else with the next one."""
        self._routes.add(route)
        self._sync()

    def remove(self, subscription: str) -> None:
        before = set(self._routes.wanted(identifiers=True))
        self._routes.remove(subscription)
        if self._session is None:
            self._stale |= before - set(self._routes.wanted(identifiers=True))
        self._sync()

    def publish(self, publication: Publication) -> bool:
        """False when there is no room."""
        return self.outlet.put(publication)

    def stop_taking(self) -> None:
        """Leave new messages to the broker, on the connections to come as well."""
        self._taking = False
        if self._session is not None and self._session.intake is not None:
            self._session.intake.stop_taking()

    async def run(self) -> None:
        """Until cancelled, or idle for a while."""
        backoff = Backoff(self._settings.backoff_s, self._settings.backoff_most_s)
        said: str | None = None
        while True:
            try:
                problem = await self._live()
            except Exception:  # the source's edge: a fault of ours ends no node
                log.exception("%s: the connection failed", self.identity.address)
                problem = "a fault of the node's own, see its log"
            if problem is None:
                return
            if problem != said:
                log.warning("%s: %s", self.identity.address, problem)
            said = problem
            if self._lived_s > GOOD_S:
                backoff.reset()
                said = None
            self._enter(State.WAITING, problem)
            await asyncio.sleep(backoff.next_s())

    async def _live(self) -> str | None:
        """One session from its beginning to its end: why it ended; None: idle."""
        self._enter(State.CONNECTING, self._error)
        self._lived_s = 0.0
        try:
            session = await self._open()
        except (OSError, Refused, Lost) as error:
            return _text(error)
        self._session = session
        self._enter(State.CONNECTED, None)
        log.info("%s: connected, MQTT %s", self.identity.address, session.version)
        since_s = self._loop_s()
        try:
            problem = await self._serve(session)
        finally:
            self._session = None
            session.close()
        self._lived_s = self._loop_s() - since_s
        if problem is None or self._lived_s > GOOD_S:
            return problem
        # mosquitto says nothing when it ends one client for another of the same id
        return f"{problem} at once; is there another client {self.client_id}?"

    async def _open(self) -> Session:
        if self._speaks_5 is False and self._loop_s() < self._ask_5_at:
            return await self._open_3()
        wait_s = CONNACK_TIMEOUT_S if self._speaks_5 else FIRST_CONNACK_TIMEOUT_S
        try:
            session = await self._open_as(version_5=True, timeout_s=wait_s)
        except Refused as error:
            if not error.version:
                raise
        except Lost:
            if self._speaks_5:
                raise
        else:
            self._speaks_5 = True
            return session
        session = await self._open_3()
        self._speaks_5 = False
        self._ask_5_at = self._loop_s() + ASK_5_AGAIN_S
        return session

    async def _open_3(self) -> Session:
        try:
            return await self._open_as(version_5=False, timeout_s=CONNACK_TIMEOUT_S)
        except Refused as error:
            if error.version:
                self._speaks_5 = None
            raise

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()

    async def _open_as(self, *, version_5: bool, timeout_s: float) -> Session:
        connected = await dial(self.identity.address, timeout_s=DIAL_TIMEOUT_S)
        session = Session(
            connected,
            version_5=version_5,
            identity=self.identity,
            client_id=self.client_id,
            settings=self._settings,
            routes=self._routes,
            outlet=self.outlet,
        )
        try:
            await session.open(self._intake(session), self._stale, timeout_s=timeout_s)
        except BaseException:
            session.close()
            raise
        return session

    def _intake(self, session: Session) -> Intake:
        settings = self._settings
        intake = Intake(
            self._routes,
            self._sink,
            counts=self._counts,
            acknowledge=session.acknowledge,
            backoff=lambda: Backoff(settings.backoff_s, settings.backoff_most_s),
            wall_ms=self._wall_ms,
        )
        if not self._taking:
            intake.stop_taking()
        return intake

    async def _serve(self, session: Session) -> str | None:
        try:
            ended = await session.serve(until=self._idle_long)
        except asyncio.CancelledError:
            await session.leave()
            raise
        if ended is None:
            self.finished = True
            await session.leave()
        return ended

    def _idle_long(self) -> bool:
        now = self._loop_s()
        if not self.idle:
            self._busy_at = now
        return now - self._busy_at > IDLE_S

    def _sync(self) -> None:
        if self._session is not None:
            self._session.sync()

    def _enter(self, state: State, error: str | None) -> None:
        if state is not self._state:
            self._since_ms = self._wall_ms()
        self._state = state
        self._error = error

    # --- what is shown --------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        session = self._session
        intake = session.intake if session is not None else None
        counts = self._counts
        return {
            "broker": str(self.identity.address),
            "namespace": self.identity.namespace,
            "state": str(self._state),
            "since": self._since_ms,
            "protocol": session.version if session is not None else None,
            "error": self._error,
            "received": counts.received,
            "acknowledged": counts.acknowledged,
            "unwanted": counts.unwanted,
            "refused": counts.refused,
            "malformed": counts.malformed,
            "held": intake.held if intake is not None else 0,
            "published": self.outlet.published,
            "failed": self.outlet.failed,
            "waiting": self.outlet.waiting + self.outlet.in_flight,
            "subscriptions": [self.subscription(one) for one in self._routes],
        }

    def subscription(self, route: Route) -> dict[str, Any]:
        """One trigger's: `granted` is the QoS, None until the broker has answered."""
        granted = self._granted(route)
        return {
            "id": route.subscription,
            "topic": str(route.filter),
            "granted": granted if isinstance(granted, int) else None,
            "refusal": granted if isinstance(granted, str) else None,
            "received": route.counts.received,
            "acknowledged": route.counts.acknowledged,
            "unwanted": route.counts.unwanted,
            "refused": route.counts.refused,
            "malformed": route.counts.malformed,
        }

    def status(self) -> dict[str, Any]:
        """The connection's part of a feed's READ."""
        return {
            "state": str(self._state),
            "since": self._since_ms,
            "error": self._error,
        }

    def _granted(self, route: Route) -> int | str | None:
        """That of its filter, or of one that covers it (3.1.1)."""
        if self._session is None:
            return None
        granted = self._session.granted
        if route.filter in granted:
            return granted[route.filter]
        covers = (granted[one] for one in granted if one.covers(route.filter))
        return next(covers, None)


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError):
        # asyncio's own text names the function that failed
        code = error.errno or 0
        return f"cannot connect: {os.strerror(code) if code > 0 else error}"
    return str(error)
