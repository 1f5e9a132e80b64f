"""Fires: from a trigger's name to what is on disk, with the throttles in between.

What a fire becomes is decided in `fire`; here its trigger and rules are looked up, and
what is made of them is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from edge_agent.engine.bindings import WRONG_COLLECTION
from edge_agent.engine.fire import Fire, Fired, fire_trigger
from edge_agent.engine.options import OptionsOf
from edge_agent.engine.resolve import Resolver
from edge_agent.engine.throttles import Throttles
from edge_agent.model.entities import Rule, Trigger
from edge_agent.model.errors import Conflict, NotFound
from edge_agent.model.feeds import Reply
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.dedup import Key
from edge_agent.store.inbox import InboxRow
from edge_agent.store.store import Store
from edge_agent.telemetry.stream import ActivationStream

if TYPE_CHECKING:
    from edge_agent.telemetry.traces import Traces


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A fire as it is asked for; `payload` is the JSON text of an object.

    With a `key` the event is seen once the fire is kept; the results go to `reply`. A
    `patient` one comes from a feed: it is refused whole, and comes again.
    """

    identity: Identity
    trigger: FullName
    payload: bytes
    headers: Mapping[str, str]
    transaction_id: str
    key: Key | None = None
    reply: Reply | None = None
    patient: bool = False


class Firing:
    """`deliver` takes the rows of a fire that was kept."""

    def __init__(
        self,
        store: Store,
        *,
        resolve: Resolver,
        throttles: Throttles,
        stream: ActivationStream,
        deliver: Callable[[list[InboxRow]], None],
        wall_ms: Callable[[], int],
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._traces = traces
        self._resolve = resolve
        self._throttles = throttles
        self._stream = stream
        self._deliver = deliver
        self._wall_ms = wall_ms
        self._options_of = OptionsOf()

    def __call__(self, asked: Asked) -> asyncio.Future[str | None]:
        """See `Engine.fire`."""
        namespace = asked.identity.namespace
        if asked.patient:
            self._throttles.check_room(namespace, fire=True)
            self._throttles.count(namespace, fires=1)
        else:
            self._throttles.fire(namespace)
        trigger = self._trigger(asked.trigger)
        rules = self._store.entities.rules_of(asked.trigger)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()
        if not any(rule.active for rule in rules):
            answer.set_result(None)
            return answer
        fire = Fire(
            identity=asked.identity,
            trigger=trigger,
            payload=asked.payload,
            headers=asked.headers,
            transaction_id=asked.transaction_id,
            now_ms=self._wall_ms(),
            reply=asked.reply,
        )
        fired = fire_trigger(
            fire,
            rules,
            lambda rule, arguments: self._prepare(asked, rule, arguments),
            self._options_of,
        )
        self._keep(fired, answer, asked)
        return answer

    def _trigger(self, name: FullName) -> Trigger:
        entity = self._store.entities.find(name)
        if entity is None:
            raise NotFound
        if not isinstance(entity, Trigger):
            raise Conflict(WRONG_COLLECTION)
        return entity

    def _prepare(self, asked: Asked, rule: Rule, arguments: bytes) -> tuple[str, bytes]:
        """Each rule's action is invoked as its caller would do it (B54)."""
        namespace = asked.identity.namespace
        if asked.patient:
            self._throttles.count(namespace, invocations=1)
        else:
            self._throttles.invoke(namespace)
        runnable = self._resolve(asked.identity, rule.action.full_name)
        return runnable.action.version, runnable.arguments(arguments)

    def _keep(
        self, fired: Fired, answer: asyncio.Future[str | None], asked: Asked
    ) -> None:
        rows, done = self._store.inbox.accept(
            fired.accepted, fired=fired.record, key=asked.key, patient=asked.patient
        )
        if self._traces is not None:
            started = [(one.activation_id, one.rule or "") for one in fired.accepted]
            self._traces.fired(fired.record, started, asked.transaction_id)

        def kept(done: asyncio.Future[None]) -> None:
            error = done.exception()
            if error is None:
                self._deliver(rows)
                self._stream.publish(fired.record)
            if answer.done():
                return
            if error is None:
                answer.set_result(fired.record.activation_id)
            else:
                answer.set_exception(error)

        done.add_done_callback(kept)
