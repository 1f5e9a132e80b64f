"""One sandbox, the state it is in and the job it is on (OpenWhisk's ContainerProxy).

The proxy knows how a job is run: init once, then run, and what their answers come to.
Which job it gets, and what becomes of it afterwards, is the business of its owner.

A warm run is the hot path: `run` and the callback `_ran`, no task and no wait between.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from edge_agent.model.activations import (
    Answer,
    Cause,
    Gone,
    Response,
    Said,
    StartKind,
    Status,
    read_coded_run,
    read_init,
)
from edge_agent.model.jobs import Finished, Job
from edge_agent.pool.context import Terms, init_request, run_context, terms_of
from edge_agent.pool.lifecycle import Event, State, advance
from edge_agent.pool.policy import Revision
from edge_agent.pool.queue import Waiting
from edge_agent.sandbox.base import AGREED, Ran, RunRequest, Sandbox, SandboxSpec

if TYPE_CHECKING:
    from edge_agent.pool.party import Party

log = logging.getLogger(__name__)

NS_PER_MS = 1_000_000
#: After these a sandbox is as good as before (D8).
KEPT = (Status.SUCCESS.text, Status.APPLICATION_ERROR.text)

_LIMITS = {Cause.TIMED_OUT: "timeout", Cause.OUT_OF_MEMORY: "memory"}


class Owner(Protocol):
    """What a proxy needs of the pool: monotonic ns, epoch ms, and whom to tell."""

    response_limit: int
    api_host: str

    def clock(self) -> int: ...

    def wall_ms(self) -> int: ...

    def initialized(self, proxy: Proxy, *, concurrent: bool) -> None:
        """Asked only where several runs at once are wanted."""
        ...

    def job_done(
        self, proxy: Proxy, finished: Finished, *, keep: bool, unread: bool
    ) -> None: ...


class Proxy:
    """`waiting` is the job it is bound to; `sandbox` is there once it has started.

    `revision` and the terms are those of the action it knows, from init on. A `retired`
    one is not kept for another job.
    """

    __slots__ = (
        "_begun_ms",
        "_init",
        "_init_ms",
        "_job",
        "_owner",
        "_since_ns",
        "_terms",
        "_wait_ms",
        "last_run_ms",
        "party",
        "retired",
        "revision",
        "sandbox",
        "spec",
        "start",
        "state",
        "used_ns",
        "waiting",
    )

    sandbox: Sandbox
    revision: Revision
    waiting: Waiting | None
    _job: Job
    _terms: Terms
    _init: Ran | None
    _init_ms: int | None
    _begun_ms: int
    _since_ns: int
    _wait_ms: int

    def __init__(self, spec: SandboxSpec, owner: Owner) -> None:
        self.spec = spec
        self.state = State.NEW
        self.start = StartKind.COLD
        self.waiting = None
        self.used_ns = 0
        self.last_run_ms = 0
        self.retired = False
        self.party: Party | None = None
        self._owner = owner
        self._init = None
        self._init_ms = None

    def __repr__(self) -> str:
        return f"<Proxy {self.spec.kind} {self.spec.memory_mb} MB {self.state}>"

    @property
    def alive(self) -> bool:
        return not self.sandbox.exited.done()

    @property
    def is_seat(self) -> bool:
        """In a sandbox that is another proxy's."""
        return self.party is not None and self.party.host is not self

    def seat_beside(self, spec: SandboxSpec) -> Proxy:
        """One that shares the sandbox and what it knows."""
        seat = Proxy(spec, self._owner)
        seat.sandbox = self.sandbox
        seat.revision = self.revision
        seat._terms = self._terms
        seat.used_ns = self.used_ns
        return seat

    def advance(self, event: Event) -> None:
        self.state = advance(self.state, event)

    def bind(self, waiting: Waiting, start: StartKind) -> None:
        """It is made or taken for this job, which `init` begins."""
        self.waiting = waiting
        self.start = start

    def unbind(self) -> Waiting | None:
        waiting = self.waiting
        self.waiting = None
        return waiting

    def init(self, waiting: Waiting, code: str) -> None:
        """Give the sandbox the action of a job, then run the job."""
        self.advance(Event.INIT)
        self.revision = waiting.revision
        self._terms = terms_of(waiting.job)
        self._begin(waiting)
        context = run_context(self._job, self._terms, now_ms=self._begun_ms)
        request = init_request(
            self._job, context, code=code, api_host=self._owner.api_host
        )
        self.sandbox.init(
            request,
            timeout_s=self._terms.timeout_s,
            logs_bytes=self._terms.logs_bytes,
        ).add_done_callback(self._initialized)

    def run(self, waiting: Waiting) -> None:
        """Run a job in a sandbox that is warm for it."""
        self.start = StartKind.WARM
        self._init_ms = None
        self._begin(waiting)
        self._run(self._begun_ms)

    def _begin(self, waiting: Waiting) -> None:
        owner = self._owner
        job = waiting.job
        now_ns = owner.clock()
        self.waiting = waiting
        self._job = job
        self._since_ns = now_ns
        self._begun_ms = owner.wall_ms()
        self._wait_ms = (now_ns - job.accepted_ns) // NS_PER_MS

    def _run(self, now_ms: int) -> None:
        self.advance(Event.RUN)
        terms = self._terms
        job = self._job
        request = RunRequest(job.arguments, run_context(job, terms, now_ms=now_ms))
        self.sandbox.run(
            request, timeout_s=terms.timeout_s, logs_bytes=terms.logs_bytes
        ).add_done_callback(self._ran)

    def _initialized(self, future: asyncio.Future[Ran]) -> None:
        if self.state is not State.INITIALIZING:
            return  # the pool was closed meanwhile
        ran = _result(future, self._job)
        self._init = ran
        self._init_ms = self._lap_ms()
        failed = read_init(
            ran.said,
            timeout_ms=self._terms.timeout_ms,
            response_limit=self._owner.response_limit,
        )
        if failed is None:
            self._run(self._owner.wall_ms())
            if self.party is not None:
                self._owner.initialized(self, concurrent=_agrees(ran.said))
        else:
            self._end(failed, ran, run_ms=0)

    def _ran(self, future: asyncio.Future[Ran]) -> None:
        if self.state is not State.RUNNING:
            return  # the pool was closed meanwhile
        ran = _result(future, self._job)
        self.last_run_ms = run_ms = self._lap_ms()
        response, status_code = read_coded_run(
            ran.said,
            timeout_ms=self._terms.timeout_ms,
            response_limit=self._owner.response_limit,
        )
        self._end(response, ran, run_ms=run_ms, status_code=status_code)

    def _lap_ms(self) -> int:
        """Since the last lap, or since the job began. Notes the time of last use."""
        now_ns = self._owner.clock()
        lap_ns = now_ns - self._since_ns
        self.used_ns = self._since_ns = now_ns
        return lap_ns // NS_PER_MS

    def _end(
        self, response: Response, ran: Ran, *, run_ms: int, status_code: int = 0
    ) -> None:
        init = self._init
        finished = Finished(
            response=response,
            start_ms=self._begun_ms,
            wait_ms=self._wait_ms,
            run_ms=run_ms,
            start=self.start,
            init_ms=self._init_ms,
            timed_out=_timed_out(ran.said),
            logs=ran.logs if init is None or init is ran else init.logs + ran.logs,
            level=self.sandbox.level,
            exceeded=self._exceeded(response, ran.said),
            status_code=status_code,
        )
        self._init = None
        del self._job  # an idle sandbox must not hold on to a megabyte of arguments
        keep = response.status in KEPT and self.alive and not self.retired
        unread = not keep and _unread(ran.said)
        self._owner.job_done(self, finished, keep=keep, unread=unread)

    def _exceeded(self, response: Response, said: Said) -> str:
        """Which limit a failure may be put down to; empty when none was reached."""
        if response.status == Status.SUCCESS.text:
            return ""
        if isinstance(said, Gone) and said.cause in _LIMITS:
            return _LIMITS[said.cause]
        return self.sandbox.exceeded()


def _agrees(said: Said) -> bool:
    return isinstance(said, Answer) and AGREED in bytes(said.body)


def _timed_out(said: Said) -> bool:
    return isinstance(said, Gone) and said.cause is Cause.TIMED_OUT


def _unread(said: Said) -> bool:
    return isinstance(said, Gone) and said.unread


def _result(future: asyncio.Future[Ran], job: Job) -> Ran:
    """What was said. A driver that breaks its contract must not cost a job its end."""
    if not future.cancelled() and future.exception() is None:
        return future.result()
    error = None if future.cancelled() else future.exception()
    text = "a sandbox gave no result but an exception"
    log.error(text, exc_info=error, extra=job.log_fields)
    return Ran(Gone(Cause.EXITED))
