"""The engine: every event, from wherever it comes, ends in `invoke` or `fire`.

State it owns: which jobs run for whom, and what is told when they end. What was
accepted without a waiting caller goes through the inbox and `Delivery`; a blocking call
goes straight to the pool and reaches the inbox only when its caller cannot wait longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Raw

from edge_agent.engine.backlog import Backlog
from edge_agent.engine.builtins import Builtin, BuiltinRunner
from edge_agent.engine.compositions import Compositions
from edge_agent.engine.delivery import Delivery
from edge_agent.engine.endings import Endings, Results
from edge_agent.engine.firing import Asked, Firing
from edge_agent.engine.limits import Limits
from edge_agent.engine.resolve import Resolver, Runnable
from edge_agent.engine.runs import Runs
from edge_agent.engine.throttles import Throttles
from edge_agent.engine.waiting import Accepted, Waiting
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.errors import TooManyInMinute, TooManyRequests, Unavailable
from edge_agent.model.feeds import Reply
from edge_agent.model.jobs import Finished, Form, Identity, Job
from edge_agent.model.limits import SystemLimits
from edge_agent.model.names import FullName, new_activation_id
from edge_agent.store.dedup import Key
from edge_agent.store.inbox import Accepted as AcceptedRow
from edge_agent.store.inbox import InboxRow
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream, EventStream

if TYPE_CHECKING:
    from edge_agent.telemetry.traces import Traces


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class JobPool(Protocol):
    """What the engine needs of the pool."""

    @property
    def slots(self) -> int: ...

    def submit(self, job: Job) -> asyncio.Future[Finished]: ...


class Engine:
    """The use cases on activations. `start` may be called once the pool runs."""

    _stopping = False

    def __init__(
        self,
        *,
        store: Store,
        pool: JobPool,
        builtins: Mapping[FullName, Builtin],
        stream: ActivationStream,
        log: ActivationLog,
        results: Results | None = None,
        limits: Limits | None = None,
        traces: Traces | None = None,
        wall_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.builtins = builtins
        self.limits = limits or Limits(SystemLimits())
        self._store = store
        self._pool = pool
        self._log = log
        self._wall_ms = wall_ms
        self._builtin_runner = BuiltinRunner(builtins)
        actions = {name: one.action for name, one in builtins.items()}
        self._resolve = Resolver(store.entities, actions)
        self.events = told = EventStream()
        self._endings = Endings(
            store, stream=stream, events=told, log=log, results=results, traces=traces
        )
        self.metrics, self.traces = self._endings.metrics, traces
        self._compositions = Compositions(
            submit=self.submit,
            resolve=self._resolve,
            end=self._endings.finish,
            limit=lambda: self.limits.system.sequence_length,
            wall_ms=wall_ms,
        )
        accepted = store.inbox.by_namespace
        self.throttles = Throttles(
            self.limits, accepted, wall_ms=wall_ms, on_refusal=self._refused
        )
        self._firing = Firing(
            store,
            resolve=self._resolve,
            throttles=self.throttles,
            stream=stream,
            deliver=self._deliver,
            wall_ms=wall_ms,
            traces=traces,
        )
        runs = Runs(
            store,
            submit=self.submit,
            resolve=self._resolve,
            endings=self._endings,
            limits=self.limits,
            wall_ms=wall_ms,
        )
        self.delivery = Delivery(
            store.inbox, runs, most=self._most_under_way, wall_ms=wall_ms
        )
        self.backlog = Backlog(store, self, wall_ms=wall_ms)

    def start_delivery(self) -> None:
        """Begin with what an earlier life of the agent accepted and did not finish."""
        self.delivery.pump()

    def room(self) -> None:
        """The pool has room: deliver more."""
        self.delivery.pump()

    @property
    def waiting(self) -> int:
        """Accepted activations that have no record yet."""
        return self._store.inbox.depth

    # -- invoke -----------------------------------------------------------------

    def find(self, identity: Identity, name: FullName) -> Runnable:
        """What `invoke` would run; raises as it does."""
        return self._resolve(identity, name)

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
            Unavailable, TooManyRequests: nothing was accepted.
        """
        if self._stopping:
            raise Unavailable("stopping")
        self.throttles.invoke(identity.namespace)
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
            await self.accept([row])
            return Accepted(row.activation_id)
        job = runnable.job(
            identity,
            arguments,
            activation_id=new_activation_id(),
            accepted_ns=time.monotonic_ns(),
            accepted_ms=accepted_ms,
            transaction_id=transaction_id,
            blocking=True,
        )
        return await Waiting(self, job, str(action)).wait(wait_ms)

    def post(
        self,
        identity: Identity,
        *,
        action: FullName,
        payload: bytes,
        transaction_id: str,
        reply: Reply | None,
    ) -> asyncio.Future[str]:
        """Accept an action's run for nobody who waits here: its result is for `reply`.

        The future is done, with the activation id, when the work is on disk.

        Raises: as `invoke` does; what is too many waits at its source.
        """
        if self._stopping:
            raise Unavailable("stopping")
        self.throttles.check_room(identity.namespace, fire=False)
        self.throttles.count(identity.namespace, invocations=1)
        runnable = self._resolve(identity, action)
        row = AcceptedRow(
            activation_id=new_activation_id(),
            namespace=identity.namespace,
            action=str(action),
            version=runnable.action.version,
            arguments=Raw(runnable.arguments(payload)),
            accepted_ms=self._wall_ms(),
            transaction_id=transaction_id,
            reply=reply,
        )
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._keep([row]).add_done_callback(
            lambda kept: _pass_on(kept, answer, row.activation_id)
        )
        return answer

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        if job.form is Form.SINGLE:
            return self._pool.submit(job)
        if job.form is Form.BUILTIN:
            return self._builtin_runner.submit(job)
        return self._compositions.submit(job)

    def keep(self, row: AcceptedRow) -> tuple[InboxRow, asyncio.Future[None]]:
        """Commit a row that is being run already: it is not delivered again."""
        rows, done = self._store.inbox.accept([row])
        self.delivery.adopt(rows[0].seq)
        self._store.inflight.mark(rows[0].seq, self._wall_ms())
        return rows[0], done

    def release(self, row: InboxRow) -> None:
        """The job of a kept row has ended."""
        self._store.inflight.clear(row.seq)
        self.delivery.release(row.seq)

    def finish(
        self, job: Job, finished: Finished, *, row: InboxRow | None = None
    ) -> ActivationRecord:
        """Write the record and tell whoever watches."""
        return self._endings.finish(job, finished, row=row)

    # -- fire -------------------------------------------------------------------

    def fire(
        self,
        identity: Identity,
        *,
        trigger: FullName,
        payload: bytes,
        headers: Mapping[str, str],
        transaction_id: str,
        key: Key | None = None,
        reply: Reply | None = None,
        patient: bool = False,
    ) -> asyncio.Future[str | None]:
        """Fire a trigger; the future is done when all it starts is on disk.

        Its value is the trigger's activation id, None when no rule is active (A35).
        With a `key` the event is seen from then on; the results go to `reply`. A
        `patient` one, a feed's, waits at its source where an HTTP caller is refused.

        Raises:
            NotFound, Conflict: there is no such trigger. Unavailable, TooManyRequests:
                nothing was kept.
        """
        if self._stopping:
            raise Unavailable("stopping")
        return self._firing(
            Asked(
                identity=identity,
                trigger=trigger,
                payload=payload,
                headers=headers,
                transaction_id=transaction_id,
                key=key,
                reply=reply,
                patient=patient,
            )
        )

    # -- accepted work ----------------------------------------------------------

    async def accept(
        self, accepted: Sequence[AcceptedRow], *, replayed: int | None = None
    ) -> None:
        """Keep rows and deliver them; returns when they are on disk.

        Raises:
            Unavailable: nothing was kept.
        """
        if self._stopping:
            raise Unavailable("stopping")
        # Shielded: a caller that hangs up does not undo what goes to disk.
        await asyncio.shield(self._keep(accepted, replayed=replayed))

    def _keep(
        self, accepted: Sequence[AcceptedRow], *, replayed: int | None = None
    ) -> asyncio.Future[None]:
        rows, done = self._store.inbox.accept(accepted, replayed=replayed)
        done.add_done_callback(lambda d: None if d.exception() else self._deliver(rows))
        return done

    def settle(self, record: ActivationRecord, row: InboxRow) -> None:
        """End a row that nobody will run: its record, and no more of it."""
        self._endings.settle(record, row)

    def tell(self, event: str, accepted: AcceptedRow) -> None:
        """Tell who watches what was done to an accepted event."""
        self._endings.tell(event, accepted, self._wall_ms())

    def _refused(self, namespace: str, error: TooManyRequests) -> None:
        self.metrics.refused(namespace, rate=isinstance(error, TooManyInMinute))

    def _deliver(self, rows: list[InboxRow]) -> None:
        for row in rows:
            self._endings.tell("accepted", row.accepted, row.accepted.accepted_ms)
        if rows:
            self.delivery.take(rows)

    def _most_under_way(self) -> int:
        """Two for each slot: the pool never idles, and a blocking call waits for few.

        None while the disk does not keep up: what ended would pile up in memory.
        """
        return 0 if self._store.inbox.choked else 2 * self._pool.slots

    # -- the end ----------------------------------------------------------------

    async def stop(self) -> None:
        """Accept nothing more, deliver nothing more; what runs may finish."""
        self._stopping = True
        self._compositions.stop()
        await self.delivery.stop()

    async def close(self) -> None:
        """After the pool has drained: end what is ours."""
        await self._builtin_runner.close()
        self._log.flush()


def _pass_on(
    kept: asyncio.Future[None], answer: asyncio.Future[str], activation_id: str
) -> None:
    error = kept.exception()
    if answer.done():
        return
    if error is None:
        answer.set_result(activation_id)
    else:
        answer.set_exception(error)
