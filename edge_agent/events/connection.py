"""One connection to one broker in one namespace: it is kept up for ever.

    waiting ──(back-off over)──> connecting ──(CONNACK)──> connected
       ^                             │                         │
       └──────────(refused, lost)────┴────────(lost)───────────┘

How it comes up is `opener`'s part, what happens while it is up `session`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from edge_agent.events.backoff import Backoff
from edge_agent.events.base import BuiltinError, Sink
from edge_agent.events.identity import BrokerIdentity
from edge_agent.events.intake import Intake
from edge_agent.events.opener import Attempt, Opener, problem_of
from edge_agent.events.outlet import Outlet, Publication
from edge_agent.events.refusal import Lost, Refused, puback_reason
from edge_agent.events.routes import Counts, Route, Routes
from edge_agent.events.secret import Secrets
from edge_agent.events.session import Session
from edge_agent.events.shape import Left
from edge_agent.events.topics import TopicFilter
from edge_agent.settings import Mqtt

#: A connection that held this long was a good one: the next wait is short again.
GOOD_S = 5.0
#: A connection without subscriptions is given up when nothing was published so long.
IDLE_S = 60.0
#: A subscription that is refused so long gets the connection for itself.
STUCK_S = 5.0

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
        secrets: Secrets,
        sink: Sink,
        wall_ms: Callable[[], int],
    ) -> None:
        self.identity = identity
        self.client_id = client_id
        self.outlet = Outlet(reason_text=puback_reason)
        #: Called with a filter that this broker's session has not any more.
        self.on_let_go: Callable[[TopicFilter], None] = lambda _: None
        #: Called with a subscription that fills the connection alone.
        self.on_stuck: Callable[[str], None] = lambda _: None
        #: Called with a subscription that must go elsewhere: see `Routes.overlapping`.
        self.on_overlap: Callable[[str], None] = lambda _: None
        self._opener = Opener(identity, secrets)
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
        self._again_at_once = False
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
            route.leaving or self._granted(route) is not None for route in self._routes
        )

    def expects_answer(self, route: Route) -> bool:
        """Whether the broker will soon grant or refuse: nothing has gone wrong yet."""
        return self._error is None and self._granted(route) is None

    def grants(self, subscription: str) -> bool:
        """Whether the broker sends its messages here."""
        return any(
            isinstance(self._granted(route), int)
            for route in self._routes
            if route.subscription == subscription and not route.leaving
        )

    @property
    def idle(self) -> bool:
        return not len(self._routes) and not self._stale and self.outlet.idle

    @property
    def used(self) -> bool:
        """Whether anything is subscribed or published by it."""
        return bool(len(self._routes)) or not self.outlet.idle

    def add(self, route: Route) -> set[TopicFilter]:
        """Subscribe `route`, now if there is a connection, else with the next one.

        Returns:
            The filters that its subscription had and nobody wants any more.
        """
        with self._changing() as gone:
            before = self._routes.get(route.subscription)
            self._routes.add(route)
        self._stale.discard(route.filter)
        if self._session is not None and not route.leaving:
            self._session.sync(again=route.filter if route.fresh else None)
            if not self._session.version_5:
                self._report_overlaps()
        if before is not None:
            self._forget(before)
        return gone

    def remove(self, subscription: str) -> set[TopicFilter]:
        """The filters that nobody wants any more; `on_let_go` follows for each."""
        route = self._routes.get(subscription)
        with self._changing() as gone:
            self._routes.remove(subscription)
        if route is not None:
            self._forget(route)
        return gone

    def retire(self, route: Route) -> set[TopicFilter]:
        """Subscribe it no longer, but take what the broker has queued for it."""
        with self._changing() as gone:
            route.leaving = True
        return gone

    @contextmanager
    def _changing(self) -> Iterator[set[TopicFilter]]:
        """Drop what is wanted before and not after; told in the set."""
        before = set(self._routes.wanted(identifiers=True))
        gone: set[TopicFilter] = set()
        yield gone
        gone |= before - set(self._routes.wanted(identifiers=True))
        self.drop(gone)

    def drop(self, filters: set[TopicFilter]) -> None:
        """Unsubscribe what is wanted no more, at the latest when connected again."""
        self._stale |= filters
        if self._session is not None:
            self._session.sync()
            self._session.let_go(filters)

    def _forget(self, route: Route) -> None:
        if self._session is not None and self._session.intake is not None:
            self._session.intake.forget(route)

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
                log.exception("%s: the connection failed", self.identity.broker)
                problem = "a fault of the node's own, see its log"
            if problem is None:
                return
            if problem != said:
                log.warning("%s: %s", self.identity.broker, problem)
            said = problem
            if self._lived_s > GOOD_S:
                backoff.reset()
                said = None
            self._enter(State.WAITING, problem)
            if not self._again_at_once:
                await asyncio.sleep(backoff.next_s())

    async def _live(self) -> str | None:
        """One session from its beginning to its end: why it ended; None: idle."""
        self._enter(State.CONNECTING, self._error)
        self._lived_s = 0.0
        self._again_at_once = False
        try:
            session = await self._opener.open(self._begin)
        except (OSError, Refused, Lost, BuiltinError) as error:
            self._again_at_once = self._opener.skip()
            return problem_of(error)
        self._session = session
        self._enter(State.CONNECTED, None)
        where = self._opener.address
        log.info("%s: connected, MQTT %s", where, session.version)
        since_s = self._loop_s()
        try:
            problem = await self._serve(session)
        finally:
            self._end(session)
        self._lived_s = self._loop_s() - since_s
        if problem is None or self._lived_s > GOOD_S:
            return problem
        # mosquitto says nothing when it ends one client for another of the same id
        return f"{problem} at once; is there another client {self.client_id}?"

    def _end(self, session: Session) -> None:
        for route in self._routes:
            if isinstance(self._granted(route), int):
                route.fresh = False
        self._session = None
        session.close()
        self._opener.start_over()

    async def _begin(self, attempt: Attempt) -> Session:
        session = Session(
            attempt.connected,
            version_5=attempt.version_5,
            identity=self.identity,
            credentials=attempt.credentials,
            client_id=self.client_id,
            settings=self._settings,
            routes=self._routes,
            outlet=self.outlet,
        )
        session.on_let_go = self._let_go
        if not attempt.version_5:
            self._report_overlaps()
        try:
            await session.open(
                self._intake(session), set(self._stale), timeout_s=attempt.timeout_s
            )
        except BaseException:
            session.close()
            raise
        return session

    def _report_overlaps(self) -> None:
        for route in self._routes.overlapping():
            self.on_overlap(route.subscription)

    def _let_go(self, one: TopicFilter) -> None:
        self._stale.discard(one)
        self.on_let_go(one)

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()

    def _intake(self, session: Session) -> Intake:
        settings = self._settings
        intake = Intake(
            self._routes,
            self._sink,
            counts=self._counts,
            acknowledge=session.acknowledge,
            backoff=lambda: Backoff(settings.backoff_s, settings.backoff_most_s),
            wall_ms=self._wall_ms,
            window=session.window,
            broker=self.identity.broker,
            on_held=self._held if session.version_5 else None,
        )
        if not self._taking:
            intake.stop_taking()
        return intake

    def _held(self, subscription: str, messages: int, since_s: float) -> None:
        """Half of what the broker sends is one subscription's share, not more."""
        full = messages >= max(1, self._settings.receive_maximum // 2)
        if full and self._loop_s() - since_s > STUCK_S:
            self.on_stuck(subscription)

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
            "broker": self.identity.broker,
            "at": str(self._opener.address) if session is not None else None,
            "namespace": self.identity.namespace,
            "state": str(self._state),
            "since": self._since_ms,
            "protocol": session.version if session is not None else None,
            "error": self._error,
            "received": counts.received,
            "acknowledged": counts.acknowledged,
            "unwanted": counts.unwanted,
            "refused": counts.refused,
            **_left_out(counts),
            "held": intake.held if intake is not None else 0,
            "paced": intake.paced if intake is not None else 0,
            "dropped_by_broker": session.dropped if session is not None else None,
            "published": self.outlet.published,
            "failed": self.outlet.failed,
            "waiting": self.outlet.waiting + self.outlet.in_flight,
            "subscriptions": [
                self.subscription(one) for one in self._routes if not one.leaving
            ],
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
            **_left_out(route.counts),
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


def _left_out(counts: Counts) -> dict[str, int]:
    return {str(left): getattr(counts, left) for left in Left}
