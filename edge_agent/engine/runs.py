"""Runs of accepted rows: what is looked at before one, and what follows from it.

`Delivery` says when; here a row becomes a job, and the job's end becomes the next run,
the record, or a dead letter. What follows is decided by `retry`, which is pure.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from edge_agent.engine import retry
from edge_agent.engine.delivery import Again, Ended
from edge_agent.engine.endings import Endings
from edge_agent.engine.limits import Limits
from edge_agent.engine.resolve import Resolver
from edge_agent.engine.rows import (
    ACTION_GONE,
    SHUT_OUT,
    annotated,
    attempt_of,
    ending_of,
    job_of,
    unrun_record,
)
from edge_agent.model.activations import ActivationRecord, Status
from edge_agent.model.delivery import Attempt, Reason
from edge_agent.model.errors import NotFound, RequestError, Unavailable
from edge_agent.model.jobs import Finished, Job, make_record
from edge_agent.model.names import FullName
from edge_agent.store.inbox import InboxRow
from edge_agent.store.store import Store

#: How long a row is held that found the dead letters full, before it asks again.
HOLD_MS = 30_000

Submit = Callable[[Job], asyncio.Future[Finished]]


class Runs:
    """The runner of `Delivery`."""

    def __init__(
        self,
        store: Store,
        *,
        submit: Submit,
        resolve: Resolver,
        endings: Endings,
        limits: Limits,
        wall_ms: Callable[[], int],
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._submit = submit
        self._resolve = resolve
        self._endings = endings
        self._limits = limits
        self._wall_ms = wall_ms
        self._dice = dice

    def start(self, row: InboxRow) -> asyncio.Future[Ended] | Ended:
        """See `delivery.Runner`."""
        accepted = row.accepted
        now_ms = self._wall_ms()
        if row.attempts or accepted.ttl_ms is not None:
            reason = retry.decide_before(
                accepted.retry or retry.DEFAULT_POLICY,
                attempts=row.attempts,
                age_ms=now_ms - accepted.accepted_ms,
                ttl_ms=accepted.ttl_ms,
            )
            if reason is not None:
                return self._bury_unrun(row, reason, now_ms)
        job = self._job(row, now_ms)
        if isinstance(job, str):
            status = Status.APPLICATION_ERROR
            record = unrun_record(row, status, job, now_ms=now_ms)
            self._endings.settle(annotated(record, row, row.attempts), row)
            return None
        return self._run(row, job, now_ms)

    def _job(self, row: InboxRow, now_ms: int) -> Job | str:
        """Why there is none: the action, or the namespace, is gone or shut (C19)."""
        accepted = row.accepted
        namespace = accepted.namespace
        subjects = self._store.subjects
        if subjects.is_blocked(namespace) or self._limits.is_shut(namespace):
            return SHUT_OUT
        identity = subjects.by_namespace(namespace)
        try:
            if identity is None:
                raise NotFound
            runnable = self._resolve(identity, FullName.parse(accepted.action, own="_"))
        except RequestError:
            return ACTION_GONE
        return job_of(row, runnable, identity, now_ms)

    def _run(self, row: InboxRow, job: Job, now_ms: int) -> asyncio.Future[Ended]:
        inflight = self._store.inflight
        inflight.mark(row.seq, now_ms)
        try:
            running = self._submit(job)
        except Unavailable:
            inflight.clear(row.seq)
            raise
        ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

        def end(running: asyncio.Future[Finished]) -> None:
            inflight.clear(row.seq)
            # Cancelled: the agent stops; the row stays and runs in its next life.
            if running.cancelled() or running.exception() is not None:
                ended.set_result(None)
            else:
                ended.set_result(self._end(row, job, running.result()))

        running.add_done_callback(end)
        return ended

    def _end(self, row: InboxRow, job: Job, finished: Finished) -> Ended:
        policy = row.accepted.retry or retry.DEFAULT_POLICY
        failure = retry.failure_of(finished)
        if failure is None and not row.attempts and row.accepted.replay_of is None:
            self._endings.finish(job, finished, row=row)  # as nearly all do
            return None
        attempts = (*row.attempts, attempt_of(finished))
        decision = retry.decide(
            policy,
            attempt=retry.runs(attempts),
            failure=failure,
            random=self._dice(),
        )
        match decision:
            case retry.Retry(after_ms=after_ms):
                return self._put_off(row, attempts, after_ms)
            case retry.Dead() if self._store.dead_letters.full:
                return self._put_off(row, attempts, HOLD_MS)
        record = make_record(job, finished)
        within = job.action.full_name.within
        if isinstance(decision, retry.Dead):
            self._bury(row, record, decision.reason, attempts, within=within)
        else:
            self._endings.settle(annotated(record, row, attempts), row, within=within)
        self._endings.log(job, finished, row)
        return None

    def _put_off(
        self, row: InboxRow, attempts: tuple[Attempt, ...], after_ms: int
    ) -> Again:
        now_ms = self._wall_ms()
        self._store.inbox.attempted(row, attempts, due_ms=now_ms + after_ms)
        self._endings.tell(
            "retry",
            row.accepted,
            now_ms,
            attempt=len(attempts),
            after_ms=after_ms,
            status=attempts[-1].status if attempts else "",
        )
        return Again(after_ms)

    def _bury_unrun(self, row: InboxRow, reason: Reason, now_ms: int) -> Ended:
        """To the dead letters without a (further) run."""
        if self._store.dead_letters.full:
            if row.attempts or row.due_ms:  # it is written down already
                return Again(HOLD_MS)
            return self._put_off(row, (), HOLD_MS)
        status, text = ending_of(row, reason)
        record = unrun_record(row, status, text, now_ms=now_ms)
        self._bury(row, record, reason, row.attempts)
        return None

    def _bury(
        self,
        row: InboxRow,
        record: ActivationRecord,
        reason: Reason,
        attempts: tuple[Attempt, ...],
        *,
        within: str = "",
    ) -> None:
        self._endings.bury(
            annotated(record, row, attempts, reason=reason),
            row,
            reason=reason,
            attempts=attempts,
            within=within,
        )
