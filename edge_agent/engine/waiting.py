"""A caller who waits for a job, for as long as a caller may wait."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec
from msgspec import Raw

from edge_agent.engine.throttles import Throttles
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.jobs import Finished, Job
from edge_agent.store.inbox import Accepted as AcceptedRow
from edge_agent.store.inbox import InboxRow


class Accepted(msgspec.Struct, frozen=True):
    """The work is kept and will run; its record can be read under this id later."""

    activation_id: str


class Keeper(Protocol):
    """What a wait needs of the engine."""

    @property
    def throttles(self) -> Throttles: ...

    def submit(self, job: Job) -> asyncio.Future[Finished]: ...

    def keep(self, row: AcceptedRow) -> tuple[InboxRow, asyncio.Future[None]]: ...

    def release(self, row: InboxRow) -> None: ...

    def finish(
        self, job: Job, finished: Finished, *, row: InboxRow | None = None
    ) -> ActivationRecord: ...


class Waiting:
    """A blocking call: a job, and a caller who waits for it for so long.

    When the wait expires, or the agent stops before the job is done, the job is kept in
    the inbox under its activation id and the caller is told Accepted.
    """

    def __init__(self, engine: Keeper, job: Job, action: str) -> None:
        self._engine = engine
        self._job = job
        self._action = action
        self._row: InboxRow | None = None
        self._kept: asyncio.Future[None] | None = None
        self._record: ActivationRecord | None = None
        self._counted = False
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def wait(self, wait_ms: int) -> Accepted | ActivationRecord:
        running = self._engine.submit(self._job)
        self._engine.throttles.enter(self._job.identity.namespace)
        self._counted = True
        running.add_done_callback(self._ended)
        timer = self._loop.call_later(wait_ms / 1000, self._give_up)
        try:
            await self._over
        finally:
            timer.cancel()
        if self._record is not None:
            return self._record
        await self._keep()
        return Accepted(self._job.activation_id)

    def _ended(self, running: asyncio.Future[Finished]) -> None:
        kept = self._kept
        if kept is not None and not kept.done():
            # Only then it is known whether there is a row that ends with the job.
            kept.add_done_callback(lambda _: self._ended(running))
            return
        row = None if kept is None or kept.exception() else self._row
        if not running.cancelled():
            finished = running.result()
            self._record = self._engine.finish(self._job, finished, row=row)
        self._leave()
        if self._row is not None:
            self._engine.release(self._row)
        self._give_up()

    def _give_up(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _leave(self) -> None:
        """In flight no more, or from now on as a row of the inbox."""
        if self._counted:
            self._counted = False
            self._engine.throttles.leave(self._job.identity.namespace)

    async def _keep(self) -> None:
        job = self._job
        accepted = AcceptedRow(
            activation_id=job.activation_id,
            namespace=job.identity.namespace,
            action=self._action,
            version=job.action.version,
            arguments=Raw(job.arguments),
            accepted_ms=job.accepted_ms,
            transaction_id=job.transaction_id,
        )
        self._row, self._kept = self._engine.keep(accepted)
        self._leave()
        await asyncio.shield(self._kept)
