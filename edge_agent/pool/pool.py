"""The pool: which job runs where, asked of the policy and done at once.

How to use it: `run()` as a task; `submit(job)` for as long as it runs; at the end
`drain`, `close`, and then cancel `run()`. All of it in one event loop.

1. Every decision and the change that records it are one synchronous step: there is no
   await between `place` and its consequences, hence no lock.
2. A warm job costs no task: submit -> place -> sandbox.run -> callback -> the future.
   Tasks are for creating, initializing and destroying (see the keeper).
3. The future of a job completes with a `Finished` however the job went. It is cancelled
   only by `drain` and `close`: then the job has not ended, and whoever promised it must
   keep it.
4. A job is put back, at the head of the queue and once, when its sandbox died before
   anything was sent to it, or died and certainly had read nothing. Whatever may have
   been read is not run again here: that is for delivery with its count of attempts.
5. `on_room` is called whenever a job has ended or a sandbox is gone: then
   `free_slots()` may have grown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from edge_agent.model.activations import Response
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished, Job
from edge_agent.model.soon import Soon
from edge_agent.pool import policy
from edge_agent.pool.figures import PoolFigures, PoolView, figures_of, view_of
from edge_agent.pool.keeper import Keeper
from edge_agent.pool.lifecycle import Event
from edge_agent.pool.policy import (
    Board,
    Create,
    Decision,
    Evict,
    Refuse,
    Reuse,
    UsePrewarmed,
    Wait,
    place,
)
from edge_agent.pool.proxy import NS_PER_MS, Proxy
from edge_agent.pool.queue import Queue, Waiting
from edge_agent.pool.refusal import NO_RESOURCES, CodeOf, never_ran, refused
from edge_agent.pool.sandboxes import Sandboxes
from edge_agent.pool.tasks import Tasks
from edge_agent.sandbox.base import SandboxFactory
from edge_agent.settings import Pool as PoolSettings

log = logging.getLogger(__name__)

#: Idle sandboxes are looked through this often at most and at least.
UPKEEP_LEAST_S, UPKEEP_MOST_S = 0.05, 10.0
NS_PER_S = 1_000_000_000


def _wall_ms() -> int:
    return time.time_ns() // NS_PER_MS


def _nothing() -> None:
    pass


class Pool:
    """See the module. `api_host` and `on_room` may be set after construction."""

    def __init__(
        self,
        factory: SandboxFactory,
        *,
        settings: PoolSettings,
        code_of: CodeOf,
        api_host: str,
        response_limit: int,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self.api_host = api_host
        self.response_limit = response_limit
        self.clock = clock
        self.wall_ms = wall_ms
        self.on_room: Callable[[], None] = _nothing
        self._idle_s = settings.idle_s
        self._nested_mb = settings.nested_memory_mb
        self._queue = Queue(
            jobs_max=settings.queue_jobs, bytes_max=settings.queue_bytes
        )
        self._sandboxes = Sandboxes(
            memory_mb=settings.memory_mb, concrete=factory.resolve
        )
        self._tasks = Tasks()
        self._keeper = Keeper(
            factory,
            self._sandboxes,
            jobs=self,
            tasks=self._tasks,
            code_of=code_of,
            prewarm=settings.prewarm,
        )
        self._active = 0
        self._seated = 0
        self._open = False
        self._quiet = asyncio.Event()
        self._new_future: Callable[[], asyncio.Future[Finished]]

    # -- what others call ---------------------------------------------------------

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        """Run `job`, now or when its turn comes.

        Raises:
            Unavailable: the queue is full, or the pool does not run or is stopping.
        """
        if not self._open:
            raise Unavailable("the pool takes no work")
        waiting = Waiting(job, job.revision, self._new_future())
        if not self._queue.jobs:
            decision = place(waiting, self._sandboxes)
            if self._carry_out(decision, waiting):
                return waiting.future
        if not self._carry_out_nested(waiting):
            self._queue.add(waiting)
            self._serve_queue()
        return waiting.future

    async def run(self) -> None:
        """Own the background tasks, expire idle sandboxes, prewarm; until cancelled."""
        self._new_future = partial(Soon, loop=asyncio.get_running_loop())
        self._open = True
        await self._tasks.own(self._keep_up())

    async def running(self) -> None:
        """Return when `run()` has begun: from then on jobs are taken."""
        await self._tasks.open.wait()

    async def drain(self, timeout_s: float) -> None:
        """Take no more work, wait for what people wait for, then let go of the rest.

        Queued jobs that nobody waits for are cancelled at once: they are kept in the
        inbox, and running them would only put off the stop.
        """
        self._open = False
        _cancel(self._queue.others.clear())
        self._note_quiet()
        try:
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()
        except TimeoutError:
            log.info("stopping with %d jobs unfinished", self._active)
        self._let_go()

    async def close(self) -> None:
        """Cancel what is left and destroy all sandboxes. May be called twice."""
        self._open = False
        self._let_go()
        await self._keeper.close()
        self._active = 0

    @property
    def slots(self) -> int:
        """How many sandboxes of standard memory fit, at least one."""
        return max(1, self._sandboxes.memory_mb // policy.STANDARD_MB)

    def free_slots(self) -> int:
        """How many more jobs could be running now, those in the queue counted.

        A job in a further seat of a sandbox takes no slot.
        """
        taken = self._active - self._seated
        return max(0, self.slots - taken - self._queue.jobs)

    def in_flight(self) -> list[tuple[str, str]]:
        """Activation id and action of what runs in a sandbox now."""
        jobs = (proxy.waiting.job for proxy in self._sandboxes if proxy.waiting)
        return [(job.activation_id, str(job.action.full_name)) for job in jobs]

    def view(self) -> PoolView:
        return view_of(self._sandboxes, self._queue, self.slots, self._active)

    def figures(self) -> PoolFigures:
        return figures_of(self._sandboxes, self._queue, self._keeper.prewarm_counts)

    def set_memory_mb(self, memory_mb: int) -> None:
        """Change the pool's memory; idle sandboxes make room, busy ones as they end."""
        self._sandboxes.memory_mb = memory_mb
        self._shrink()
        self.made_room()

    def retire_all(self) -> None:
        """What all sandboxes are given has changed: later jobs run in new ones."""
        self._keeper.retire_all()
        self.made_room()

    # -- decisions and what follows from them -------------------------------------

    def _serve_queue(self) -> None:
        """Place jobs from the queue until its head has to wait."""
        while (head := self._queue.head()) is not None:
            if head.future.done():  # its caller has given up
                self._queue.take_head(head)
                continue
            decision = place(head, self._sandboxes)
            if self._carry_out(decision, head):
                self._queue.take_head(head)
            elif self._overtake(head, decision):
                pass  # ask again: there may be more of them
            elif isinstance(decision, Evict):
                self._keeper.evict(decision.victims)
            else:
                return
        self._prewarm()

    def _carry_out(self, decision: Decision[Proxy], waiting: Waiting) -> bool:
        """Do it; False when the job has to wait."""
        match decision:
            case Reuse(sandbox=proxy):
                self._reuse(proxy, waiting)
            case Board(sandbox=host):
                self._active += 1
                self._keeper.board(host, waiting)
            case UsePrewarmed(sandbox=proxy):
                self._active += 1
                self._keeper.use_prewarmed(proxy, waiting)
                if not self._keeper.replace_later:
                    self._prewarm()
            case Create(kind=kind):
                self._active += 1
                self._keeper.create_for(waiting, kind)
            case Refuse(text=text):
                self._end(waiting, refused(text))
            case Wait() | Evict():
                return False
        return True

    def _carry_out_nested(self, waiting: Waiting) -> bool:
        """Run it at once if a running job may be waiting for it; False if it queues."""
        running = (p.waiting.job for p in self._sandboxes if p.waiting is not None)
        if not policy.may_be_nested(waiting.job, running):
            return False
        decision = place(waiting, self._sandboxes, extra_mb=self._nested_mb)
        return self._carry_out(decision, waiting)

    def _reuse(self, proxy: Proxy, waiting: Waiting) -> None:
        self._active += 1
        if proxy.party is not None:
            self._seated += proxy.is_seat
        self._sandboxes.use_idle(proxy)
        proxy.run(waiting)

    def _overtake(self, head: Waiting, decision: Decision[Proxy]) -> bool:
        """Run one queued job whose sandbox stands idle, if the head can bear it."""
        for revision in self._sandboxes.idle_revisions():
            waiting = self._queue.first_of(revision)
            proxy = self._sandboxes.warm_for(revision)
            if waiting is None or proxy is None:
                continue
            cost_ms = policy.overtaking_costs(
                decision,
                sandbox=proxy,
                run_ms=proxy.last_run_ms,
                overtaken_ms=head.overtaken_ms,
            )
            if cost_ms is None:
                continue
            self._queue.take_overtaker(waiting)
            if not waiting.future.done():
                head.overtaken_ms += cost_ms
                self._reuse(proxy, waiting)
            return True
        return False

    # -- what the proxies and the keeper report -----------------------------------

    def job_done(
        self, proxy: Proxy, finished: Finished, *, keep: bool, unread: bool
    ) -> None:
        """A job has been run; after some ends the sandbox is as good as before (D8)."""
        waiting = proxy.unbind()
        self._active -= 1
        if proxy.party is not None:
            self._seated -= proxy.is_seat
        if keep:
            self._sandboxes.rest(proxy)
        else:
            self._keeper.remove(proxy, Event.FAIL)
        if unread and waiting is not None and not waiting.put_back:
            if not waiting.future.done():
                self._put_back(waiting)
            waiting = None
        if self._sandboxes.used_mb > self._sandboxes.memory_mb:
            self._shrink()
        if self._queue.jobs:
            self._serve_queue()
        if self._keeper.replace_later:
            self._prewarm()
        self._tell()
        # Last: whoever is told may submit the next job at once.
        if waiting is not None and not waiting.future.done():
            waiting.future.set_result(finished)

    def initialized(self, proxy: Proxy, *, concurrent: bool) -> None:
        """Who has boarded gets a seat, where there are any now."""
        self.jobs_back(self._keeper.seat(proxy, concurrent=concurrent))
        self._serve_queue()

    def jobs_back(self, boarded: list[Waiting]) -> None:
        """They wait for a sandbox again, before all others."""
        self._active -= len(boarded)
        for waiting in reversed(boarded):
            self._queue.put_back(waiting)

    def job_failed(self, waiting: Waiting, response: Response) -> None:
        """A job that was bound to a sandbox could not be run."""
        self._active -= 1
        self._end(waiting, response)

    def job_back(self, waiting: Waiting) -> None:
        """Its sandbox died before it knew of the job: try another one, once."""
        self._active -= 1
        if waiting.put_back:
            self._end(waiting, NO_RESOURCES)
        else:
            self._put_back(waiting)
        self.made_room()

    def _put_back(self, waiting: Waiting) -> None:
        waiting.put_back = True
        self._queue.put_back(waiting)

    def made_room(self) -> None:
        """A sandbox is gone, or stands prewarmed, or there is more memory."""
        self._serve_queue()
        self._tell()

    def _tell(self) -> None:
        if self._open:
            self.on_room()
        else:
            self._note_quiet()

    def _end(self, waiting: Waiting, response: Response) -> None:
        """End a job that no sandbox has seen."""
        if waiting.future.done():
            return
        waited_ms = (self.clock() - waiting.job.accepted_ns) // NS_PER_MS
        waiting.future.set_result(
            never_ran(response, now_ms=self.wall_ms(), waited_ms=waited_ms)
        )

    # -- upkeep and the end -------------------------------------------------------

    async def _keep_up(self) -> None:
        pause_s = min(max(self._idle_s / 10, UPKEEP_LEAST_S), UPKEEP_MOST_S)
        try:
            while True:
                self._expire()
                self.made_room()
                await asyncio.sleep(pause_s)
        finally:
            self._open = False

    def _expire(self) -> None:
        old = policy.expired(
            self._sandboxes.idle_since(),
            now_ns=self.clock(),
            idle_ns=round(self._idle_s * NS_PER_S),
        )
        self._keeper.evict(old)

    def _prewarm(self) -> None:
        """Whatever waits in the queue wants the memory more."""
        if self._open and not self._queue.jobs:
            self._keeper.prewarm()

    def _shrink(self) -> None:
        self._keeper.evict(policy.to_shrink(self._sandboxes))

    def _note_quiet(self) -> None:
        if not self._active and not self._queue.jobs:
            self._quiet.set()

    def _let_go(self) -> None:
        _cancel(self._queue.clear())
        _cancel([proxy.waiting for proxy in self._sandboxes if proxy.waiting])
        _cancel(self._keeper.boarded())


def _cancel(waiting: list[Waiting]) -> None:
    for each in waiting:
        each.future.cancel()
