"""What sequences and compositions have in common while they are under way.

Each of them is told when a component has ended and says what follows (`_ended`); what
it has come to, the records of its components and its own end are kept here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from edge_agent.engine.conductors import Budget
from edge_agent.engine.resolve import Resolver, Runnable, lay_over
from edge_agent.model.activations import Response, StartKind, Status, failure
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Composed, Finished, Form, Job
from edge_agent.model.names import new_activation_id
from edge_agent.model.soon import Soon

#: How long a component asks for room beyond its own time limit (B48).
GRACE_S = 60.0

log = logging.getLogger(__name__)


class End(Protocol):
    """Writes the record of a component; `result_in`: see `Endings.finish`."""

    def __call__(
        self, job: Job, finished: Finished, *, result_in: str | None
    ) -> object: ...


class Owner(Protocol):
    """What those under way need of `Compositions`."""

    resolve: Resolver
    end: End
    wall_ms: Callable[[], int]

    @property
    def limit(self) -> int: ...

    def run(self, job: Job) -> asyncio.Future[Finished]: ...

    def nest(self, job: Job, scope: Scope) -> asyncio.Future[Finished]: ...

    def wait_for_room(self, steps: Steps, again: Callable[[], None]) -> None: ...


class Count(msgspec.Struct):
    """Actions that have run in a sequence and those written out in it."""

    actions: int = 0


class Scope(msgspec.Struct, frozen=True):
    """What a run shares with those inside it.

    `count` and `depth` are those of sequences that enclose each other; they begin anew
    in a composition, whose `budget` goes on to whatever is inside it.
    """

    count: Count
    depth: int = 0
    budget: Budget | None = None


class Steps(ABC):
    """One that is under way: what it has come to, and the future of its end."""

    _failed: str

    def __init__(self, owner: Owner, job: Job, scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        # Of what is nested the ends follow each other; calls may not be that deep.
        self.future: asyncio.Future[Finished] = (
            Soon(loop=loop) if job.cause is None else loop.create_future()
        )
        self._is_outermost = job.cause is None
        self._unwritten: tuple[Job, Finished] | None = None
        self._owner = owner
        self._job = job
        self._scope = scope
        self._start_ms = owner.wall_ms()
        self._wait_ms = (time.monotonic_ns() - job.accepted_ns) // 1_000_000
        self._run_ms = 0
        self._memory_mb = 0
        self._logs: list[str] = []

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def _ended(self, response: Response) -> None:
        """A component has ended."""

    def guarded(self, step: Callable[[], None]) -> None:
        """A fault of ours ends this one, and is told; its caller must not hang."""
        try:
            step()
        except Exception:  # an edge: nobody is above a callback
            log.exception("a step failed", extra=self._job.log_fields)
            self._finish(failure(Status.WHISK_ERROR, self._failed))

    def cancel(self) -> None:
        self.future.cancel()

    def _invoke(self, component: Runnable, payload: bytes) -> None:
        job = component.job(
            self._job.identity,
            lay_over(component.defaults, payload),
            activation_id=new_activation_id(),
            accepted_ns=time.monotonic_ns(),
            accepted_ms=self._owner.wall_ms(),
            transaction_id=self._job.transaction_id,
            blocking=self._job.blocking,
            cause=self._job.activation_id,
        )
        self._start(job)

    def _start(self, job: Job) -> None:
        try:
            if job.form in (Form.SINGLE, Form.BUILTIN):
                running = self._owner.run(job)
            else:
                running = self._owner.nest(job, self._inside(job))
        except Unavailable:
            if self._is_first:
                raise
            waited_ns = time.monotonic_ns() - job.accepted_ns
            if waited_ns / 1e9 > job.action.limits.timeout / 1000 + GRACE_S:
                self._ended(failure(Status.WHISK_ERROR, _late(job)))
            else:
                self._owner.wait_for_room(self, partial(self._start, job))
            return
        running.add_done_callback(
            lambda running: self.guarded(partial(self._component_ended, job, running))
        )

    @property
    def _is_first(self) -> bool:
        """Nothing of the whole has run yet, so that all of it may be refused."""
        return self._is_outermost and not self._logs

    @abstractmethod
    def _inside(self, job: Job) -> Scope:
        """The scope of a component that has steps."""

    def _component_ended(self, job: Job, running: asyncio.Future[Finished]) -> None:
        if running.cancelled():
            self.cancel()
            return
        finished = running.result()
        composed = finished.composed
        self._unwritten = job, finished
        self._logs.append(job.activation_id)
        self._run_ms += finished.run_ms + (finished.init_ms or 0)
        memory_mb = job.action.limits.memory if composed is None else composed.memory_mb
        self._memory_mb = max(self._memory_mb, memory_mb)
        try:
            self._ended(finished.response)
        finally:
            self._write()

    def _write(self, final: Response | None = None) -> None:
        """Write the record of the last component: while the next one runs, if any.

        A success that is `final` is in the record of the whole as well.
        """
        if self._unwritten is None:
            return
        (job, finished), self._unwritten = self._unwritten, None
        same = final is finished.response and finished.response.success
        result_in = self._job.activation_id if same and self._is_outermost else None
        self._owner.end(job, finished, result_in=result_in)

    def _finish(self, response: Response) -> None:
        if self.future.done():
            self._write()
            return
        self._write(response)
        job = self._job
        composed = Composed(
            end_ms=self._owner.wall_ms(),
            memory_mb=self._memory_mb or job.action.limits.memory,
            conductor=job.form is Form.CONDUCTOR,
        )
        finished = Finished(
            response=response,
            start_ms=self._start_ms,
            wait_ms=self._wait_ms,
            run_ms=self._run_ms,
            start=StartKind.WARM,
            logs=tuple(self._logs),
            composed=composed,
        )
        self.future.set_result(finished)


def _late(job: Job) -> str:
    return (
        f"Timeout reached when retrieving activation {job.activation_id} "
        "for sequence component."
    )
