"""The engine: every event, from wherever it comes, ends in `invoke` or `fire`.

State it owns: which jobs run for whom, and what is told when they end. What was
accepted without a waiting caller goes through the inbox and `Delivery`; a blocking call
goes straight to the pool and reaches the inbox only when its caller cannot wait longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Raw

from edge_agent.engine.builtins import BUILTIN_KIND, Builtin, BuiltinRunner
from edge_agent.engine.delivery import Delivery
from edge_agent.engine.fire import Fire, Fired, fire_trigger
from edge_agent.engine.resolve import WRONG_COLLECTION, Resolver
from edge_agent.engine.rows import gone_record, job_of
from edge_agent.engine.waiting import Accepted, Waiting
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.entities import Rule, Trigger
from edge_agent.model.errors import Conflict, NotFound, RequestError, Unavailable
from edge_agent.model.feeds import Outgoing
from edge_agent.model.jobs import Finished, Identity, Job, make_record
from edge_agent.model.names import FullName, new_activation_id
from edge_agent.store.inbox import Accepted as AcceptedRow
from edge_agent.store.inbox import InboxRow
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream


class JobPool(Protocol):
    """What the engine needs of the pool."""

    @property
    def slots(self) -> int: ...

    def submit(self, job: Job) -> asyncio.Future[Finished]: ...


class Results(Protocol):
    """Turns results into messages and sends them; `app` wires events' own."""

    def outgoing(
        self, annotation: Any, record: ActivationRecord
    ) -> Outgoing | None: ...

    def publish(self, outgoing: Outgoing) -> None: ...


class Engine:
    """The use cases on activations. `start` may be called once the pool runs."""

    def __init__(
        self,
        *,
        store: Store,
        pool: JobPool,
        builtins: Mapping[FullName, Builtin],
        stream: ActivationStream,
        log: ActivationLog,
        results: Results | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.builtins = builtins
        self._store = store
        self._pool = pool
        self._stream = stream
        self._log = log
        self._results = results
        self._wall_ms = wall_ms
        self._builtin_runner = BuiltinRunner(builtins)
        actions = {name: builtin.action for name, builtin in builtins.items()}
        self._resolve = Resolver(store.entities, actions)
        # Two for each slot: the pool never idles, and a blocking call waits for few.
        self._delivery = Delivery(store.inbox, self, most=lambda: 2 * pool.slots)
        self._stopping = False

    def start_delivery(self) -> None:
        """Begin with what an earlier life of the agent accepted and did not finish."""
        self._delivery.pump()

    def room(self) -> None:
        """The pool has room: deliver more."""
        self._delivery.pump()

    @property
    def waiting(self) -> int:
        """Accepted activations that have no record yet."""
        return self._store.inbox.depth

    # -- invoke -----------------------------------------------------------------

    async def invoke(
        self,
        identity: Identity,
        *,
        action: FullName,
        payload: bytes,
        blocking: bool,
        wait_ms: int,
        transaction_id: str,
    ) -> Accepted | ActivationRecord:
        """Run an action; `payload` is the JSON text of an object.

        Returns:
            The record when `blocking` and done within `wait_ms`; otherwise Accepted,
            after the work has been committed to disk.

        Raises:
            NotFound, Conflict, Forbidden, BadRequest: as Resolver and Runnable say.
            Unavailable: nothing was accepted.
        """
        if self._stopping:
            raise Unavailable("stopping")
        runnable = self._resolve(identity, action)
        arguments = runnable.arguments(payload)
        if self._store.crowded:
            # Results come faster than the disk takes them; their callers can wait.
            await self._store.room()
        accepted_ms = self._wall_ms()
        if not blocking:
            row = AcceptedRow(
                activation_id=new_activation_id(),
                namespace=identity.namespace,
                action=str(action),
                version=runnable.action.version,
                arguments=Raw(arguments),
                accepted_ms=accepted_ms,
                transaction_id=transaction_id,
            )
            await self._keep([row])
            return Accepted(row.activation_id)
        job = Job(
            activation_id=new_activation_id(),
            action=runnable.action,
            identity=identity,
            arguments=arguments,
            accepted_ns=time.monotonic_ns(),
            accepted_ms=accepted_ms,
            transaction_id=transaction_id,
            environment=runnable.environment,
            blocking=True,
        )
        return await Waiting(self, job, str(action)).wait(wait_ms)

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        if job.action.exec.kind == BUILTIN_KIND:
            return self._builtin_runner.submit(job)
        return self._pool.submit(job)

    def keep(self, row: AcceptedRow) -> tuple[InboxRow, asyncio.Future[None]]:
        """Commit a row that is being run already: it is not delivered again."""
        rows, done = self._store.inbox.accept([row])
        self._delivery.leave_out(rows[0].seq)
        return rows[0], done

    def finish(
        self, job: Job, finished: Finished, *, row: InboxRow | None = None
    ) -> ActivationRecord:
        """Write the record and tell whoever watches."""
        record = make_record(job, finished)
        self._settle(record, row, within=job.action.full_name.within)
        self._log.ended(job, finished)
        return record

    # -- fire -------------------------------------------------------------------

    def fire(
        self,
        identity: Identity,
        *,
        trigger: FullName,
        payload: bytes,
        headers: Mapping[str, str],
        transaction_id: str,
    ) -> asyncio.Future[str | None]:
        """Fire a trigger; the future is done when all it starts is on disk.

        Its value is the trigger's activation id, None when no rule is active (A35).

        Raises:
            NotFound, Conflict: there is no such trigger. Unavailable: nothing was kept.
        """
        if self._stopping:
            raise Unavailable("stopping")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()
        entity = self._trigger(trigger)
        rules = self._store.entities.rules_of(trigger)
        if not any(rule.active for rule in rules):
            answer.set_result(None)
            return answer
        fired = fire_trigger(
            Fire(
                identity=identity,
                trigger=entity,
                payload=payload,
                headers=headers,
                transaction_id=transaction_id,
                now_ms=self._wall_ms(),
            ),
            rules,
            lambda rule, arguments: self._prepare(identity, rule, arguments),
        )
        self._keep_fire(fired, answer)
        return answer

    def _trigger(self, name: FullName) -> Trigger:
        entity = self._store.entities.find(name)
        if entity is None:
            raise NotFound
        if not isinstance(entity, Trigger):
            raise Conflict(WRONG_COLLECTION)
        return entity

    def _prepare(
        self, identity: Identity, rule: Rule, arguments: bytes
    ) -> tuple[str, bytes]:
        runnable = self._resolve(identity, rule.action.full_name)
        return runnable.action.version, runnable.arguments(arguments)

    def _keep_fire(self, fired: Fired, answer: asyncio.Future[str | None]) -> None:
        rows, done = self._store.inbox.accept(fired.accepted, fired=fired.record)

        def kept(done: asyncio.Future[None]) -> None:
            error = done.exception()
            if error is None:
                self._delivery.take(rows)
                self._stream.publish(fired.record)
            if answer.done():
                return
            if error is None:
                answer.set_result(fired.record.activation_id)
            else:
                answer.set_exception(error)

        done.add_done_callback(kept)

    # -- accepted work ----------------------------------------------------------

    async def _keep(self, accepted: Sequence[AcceptedRow]) -> None:
        rows, done = self._store.inbox.accept(accepted)
        done.add_done_callback(
            lambda d: None if d.exception() else self._delivery.take(rows)
        )
        # Shielded: a caller that hangs up does not undo what goes to disk.
        await asyncio.shield(done)

    def start(self, row: InboxRow) -> asyncio.Future[None] | None:
        """Delivery's runner: see `delivery.Runner`."""
        accepted = row.accepted
        identity = self._store.subjects.by_namespace(accepted.namespace)
        try:
            if identity is None:
                raise NotFound
            runnable = self._resolve(identity, FullName.parse(accepted.action, own="_"))
        except RequestError:
            self._settle(gone_record(row, self._wall_ms()), row)
            return None
        job = job_of(row, runnable, identity, self._wall_ms())
        running = self.submit(job)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(future: asyncio.Future[Finished]) -> None:
            if not future.cancelled() and future.exception() is None:
                self.finish(job, future.result(), row=row)
            # Cancelled: the agent stops; the row stays and runs in its next life.
            settled.set_result(None)

        running.add_done_callback(ended)
        return settled

    def _settle(
        self, record: ActivationRecord, row: InboxRow | None, *, within: str = ""
    ) -> None:
        """Record and deletion of the row are one transaction, the result's too."""
        batch = self._store.activations.add(record, within=within or None)
        if row is not None:
            self._store.inbox.finish(row, batch)
            self._send_result(row, record, batch)
        self._stream.publish(record)

    def _send_result(self, row: InboxRow, record: ActivationRecord, batch: Any) -> None:
        annotation = row.accepted.result_topic
        if annotation is None or self._results is None:
            return
        outgoing = self._results.outgoing(annotation, record)
        if outgoing is not None:
            self._store.sources.send(outgoing, batch)
            self._results.publish(outgoing)

    # -- the end ----------------------------------------------------------------

    async def stop(self) -> None:
        """Accept nothing more, deliver nothing more; what runs may finish."""
        self._stopping = True
        await self._delivery.stop()

    async def close(self) -> None:
        """After the pool has drained: end what is ours."""
        await self._builtin_runner.close()
        self._log.flush()
