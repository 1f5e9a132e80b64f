"""The pool: owns the sandboxes and the queue, asks the policy, does what it says.

How to use it: `run()` as a task; `submit(job)` for as long as it runs; at the end
`drain`, `close`, and then cancel `run()`. All of it in one event loop.

1. Every decision and the change that records it are one synchronous step: there is no
   await between `place` and its consequences, hence no lock.
2. A warm job costs no task: submit -> place -> sandbox.run -> callback -> the future.
   Tasks are for creating, initializing and destroying; each is named and owned by the
   group of `run()`.
3. The future of a job completes with a `Finished` however the job went. It is cancelled
   only by `drain` and `close`: then the job has not ended, and whoever promised it must
   keep it.
4. A job is put back, at the head of the queue and once, when its sandbox died before
   the action was sent to it. Once init or run has been asked for it may have been read:
   running it again is for delivery with its count of attempts, not for the pool.
5. `on_room` is called whenever a job has ended or left the queue for a sandbox: then
   `free_slots()` may have grown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.model.activations import Response, StartKind, Status, failure
from edge_agent.model.entities import Action
from edge_agent.model.errors import NotFound, Unavailable
from edge_agent.model.jobs import Finished, Job
from edge_agent.pool import policy
from edge_agent.pool.lifecycle import Event, State
from edge_agent.pool.policy import (
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
from edge_agent.pool.sandboxes import Sandboxes
from edge_agent.sandbox.base import Sandbox, SandboxError, SandboxFactory, SandboxSpec
from edge_agent.settings import Pool as PoolSettings

log = logging.getLogger(__name__)

#: How long the making and the unmaking of a sandbox may take.
CREATE_TIMEOUT_S = 60.0
DESTROY_TIMEOUT_S = 30.0
#: Idle ones are looked through this often at most and at least.
UPKEEP_LEAST_S, UPKEEP_MOST_S = 0.05, 10.0
#: After a prewarmed sandbox failed no other is started for so long.
PREWARM_PAUSE_NS = 10 * 1_000_000_000

NO_RESOURCES = "Failed to provision resources to run the action."  # C18
NOT_FOUND = "Action could not be found or may have been deleted."  # C19
NOT_FETCHED = "Action could not be fetched."  # C19

CodeOf = Callable[[Action], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What the pool holds now; `states` counts sandboxes, `active` jobs in them."""

    states: Mapping[State, int]
    slots: int
    active: int
    memory_mb: int
    used_mb: int
    queued: int
    queued_blocking: int
    queued_bytes: int


def _nothing() -> None:
    pass


def _wall_ms() -> int:
    return time.time_ns() // NS_PER_MS


class Pool:
    """See the module. `api_host` and `on_room` may be set until the first submit."""

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
        self.running = asyncio.Event()
        self._factory = factory
        self._settings = settings
        self._code_of = code_of
        self._sandboxes = Sandboxes(
            memory_mb=settings.memory_mb, resolve=factory.resolve
        )
        self._queue = Queue(
            jobs_max=settings.queue_jobs, bytes_max=settings.queue_bytes
        )
        self._active = 0
        self._stopping = False
        self._quiet = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop
        self._prewarm_after_ns = 0

    # -- what others call ---------------------------------------------------------

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        """Run `job`, now or when its turn comes.

        Raises:
            Unavailable: the queue is full, or the pool is not running or stopping.
        """
        if self._group is None or self._stopping:
            raise Unavailable("the pool takes no work")
        waiting = Waiting(job, job.revision, self._loop.create_future())
        if not self._queue:
            decision = place(waiting, self._sandboxes)
            if not isinstance(decision, Wait | Evict):
                self._carry_out(decision, waiting)
                return waiting.future
        self._queue.add(waiting)
        self._serve_queue()
        return waiting.future

    async def run(self) -> None:
        """Own the background tasks, expire idle sandboxes, prewarm; until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.running.set()
            try:
                await self._keep_up()
            finally:
                self._group = None
                self.running.clear()

    async def drain(self, timeout_s: float) -> None:
        """Take no more work, wait for what people wait for, then let go of the rest.

        Queued jobs that nobody waits for are cancelled at once: they are kept in the
        inbox, and running them would only put off the stop.
        """
        self._stopping = True
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
        self._stopping = True
        self._let_go()
        for proxy in self._sandboxes:
            if proxy.state not in (State.STARTING, State.REMOVING):
                self._sandboxes.leave(proxy, Event.FAIL)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CREATE_TIMEOUT_S)
        async with asyncio.TaskGroup() as group:
            for proxy in self._sandboxes:
                group.create_task(self._destroy(proxy), name=f"pool.close {proxy}")

    @property
    def slots(self) -> int:
        """How many sandboxes of standard memory fit, at least one."""
        return max(1, self._sandboxes.memory_mb // policy.STANDARD_MB)

    def free_slots(self) -> int:
        """How many more jobs could be running now, those in the queue counted."""
        return max(0, self.slots - self._active - len(self._queue))

    def view(self) -> PoolView:
        sandboxes, queue = self._sandboxes, self._queue
        return PoolView(
            states=sandboxes.counts(),
            slots=self.slots,
            active=self._active,
            memory_mb=sandboxes.memory_mb,
            used_mb=sandboxes.used_mb,
            queued=len(queue),
            queued_blocking=len(queue.blocking),
            queued_bytes=queue.bytes,
        )

    def set_memory_mb(self, memory_mb: int) -> None:
        """Change the pool's memory; idle sandboxes make room, busy ones as they end."""
        self._sandboxes.memory_mb = memory_mb
        self._shrink()
        self._serve_queue()
        self._prewarm()

    # -- decisions and what follows from them -------------------------------------

    def _serve_queue(self) -> None:
        """Place jobs from the queue until its head has to wait."""
        while (head := self._queue.head()) is not None:
            decision = (
                None if head.future.done() else place(head, self._sandboxes)
            )  # done: the caller has given up
            if decision is None:
                self._queue.take_head(head)
            elif isinstance(decision, Wait | Evict):
                if self._overtake(head, decision):
                    continue
                if isinstance(decision, Wait):
                    return
                self._evict(decision.victims)
            else:
                self._queue.take_head(head)
                self._carry_out(decision, head)

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
            if cost_ms is not None:
                head.overtaken_ms += cost_ms
                self._queue.take_overtaker(waiting)
                self._reuse(proxy, waiting)
                return True
        return False

    def _carry_out(self, decision: Decision[Proxy], waiting: Waiting) -> None:
        match decision:
            case Reuse(sandbox=proxy):
                self._reuse(proxy, waiting)
            case UsePrewarmed(sandbox=proxy):
                self._use_prewarmed(proxy, waiting)
            case Create():
                self._create_for(waiting)
            case Refuse(text=text):
                self._never_ran(waiting, failure(Status.WHISK_ERROR, text))

    def _reuse(self, proxy: Proxy, waiting: Waiting) -> None:
        self._active += 1
        self._sandboxes.use_idle(proxy)
        proxy.run(waiting)

    def _use_prewarmed(self, proxy: Proxy, waiting: Waiting) -> None:
        self._bind(proxy, waiting, StartKind.PREWARMED)
        self._sandboxes.use_prewarmed(proxy)
        self._spawn(self._init(proxy), f"pool.init {waiting.job.activation_id}")
        self._prewarm()

    def _create_for(self, waiting: Waiting) -> None:
        kind = self._factory.resolve(waiting.kind)
        if kind is None:
            text = f"This node has no runtime for the kind '{waiting.kind}'."
            self._never_ran(waiting, failure(Status.WHISK_ERROR, text))
            return
        proxy = Proxy(SandboxSpec(kind, waiting.memory_mb), self)
        self._bind(proxy, waiting, StartKind.COLD)
        self._sandboxes.start(proxy)
        self._spawn(self._create(proxy), f"pool.create {waiting.job.activation_id}")

    def _bind(self, proxy: Proxy, waiting: Waiting, start: StartKind) -> None:
        self._active += 1
        proxy.waiting = waiting
        proxy.start = start

    def _evict(self, victims: tuple[Proxy, ...]) -> None:
        for proxy in victims:
            self._remove(proxy, Event.REMOVE)

    def _remove(self, proxy: Proxy, event: Event) -> None:
        self._sandboxes.leave(proxy, event)
        self._spawn(self._destroy(proxy), f"pool.destroy {proxy.sandbox.id}")

    def _shrink(self) -> None:
        self._evict(policy.to_shrink(self._sandboxes))

    def _prewarm(self) -> None:
        """Start what is missing of the prewarmed, unless a job waits for memory."""
        wanted = self._settings.prewarm
        if not wanted or self._queue or self._stopping or self._group is None:
            return
        if self.clock() < self._prewarm_after_ns:
            return
        sandboxes = self._sandboxes
        missing = policy.to_prewarm(
            self._concrete(wanted),
            sandboxes.standing(),
            free_mb=sandboxes.memory_mb - sandboxes.used_mb,
        )
        for kind in missing:
            proxy = Proxy(SandboxSpec(kind, policy.STANDARD_MB), self)
            sandboxes.start(proxy)
            self._spawn(self._create(proxy), f"pool.prewarm {kind}")

    def _concrete(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """By concrete kind; a kind that nothing installed serves is left out."""
        found: dict[str, int] = {}
        for kind, count in wanted.items():
            if concrete := self._factory.resolve(kind):
                found[concrete] = found.get(concrete, 0) + count
        return found

    # -- what happens to jobs -----------------------------------------------------

    def job_done(self, proxy: Proxy, finished: Finished, *, keep: bool) -> None:
        """The proxy's job has ended; the sandbox may be as good as new (D8)."""
        waiting = proxy.waiting
        proxy.waiting = None
        self._active -= 1
        if keep and not self._stopping:
            self._sandboxes.rest(proxy)
        else:
            self._remove(proxy, Event.FAIL)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_result(finished)
        self._made_room()

    def _made_room(self) -> None:
        sandboxes = self._sandboxes
        if sandboxes.used_mb > sandboxes.memory_mb:
            self._shrink()
        if self._queue:
            self._serve_queue()
        if self._stopping:
            self._note_quiet()
        else:
            self.on_room()

    def _never_ran(self, waiting: Waiting, response: Response) -> None:
        """End a job that no sandbox has seen."""
        if waiting.future.done():
            return
        finished = Finished(
            response=response,
            start_ms=self.wall_ms(),
            wait_ms=(self.clock() - waiting.job.accepted_ns) // NS_PER_MS,
            run_ms=0,
            start=StartKind.COLD,
        )
        waiting.future.set_result(finished)

    def _unbind(self, proxy: Proxy) -> Waiting | None:
        waiting, proxy.waiting = proxy.waiting, None
        if waiting is not None:
            self._active -= 1
        return waiting

    def _put_back(self, waiting: Waiting) -> None:
        """Its sandbox died before it knew of the job: try another one, once."""
        if waiting.put_back:
            self._never_ran(waiting, failure(Status.WHISK_ERROR, NO_RESOURCES))
            return
        waiting.put_back = True
        self._queue.put_back(waiting)

    def _let_go(self) -> None:
        _cancel(self._queue.clear())
        _cancel([proxy.waiting for proxy in self._sandboxes if proxy.waiting])

    def _note_quiet(self) -> None:
        if not self._active and not self._queue:
            self._quiet.set()

    # -- the life of sandboxes ----------------------------------------------------

    async def _create(self, proxy: Proxy) -> None:
        """Start a sandbox, and give it its job if it was made for one."""
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_S):
                sandbox = await self._factory.create(proxy.spec)
        except (SandboxError, TimeoutError) as error:
            log.warning("no sandbox for %s: %s", proxy.spec.kind, error)
            self._not_created(proxy)
        except asyncio.CancelledError:
            self._not_created(proxy)
            raise
        else:
            await self._created(proxy, sandbox)

    def _not_created(self, proxy: Proxy) -> None:
        waiting = self._unbind(proxy)
        self._sandboxes.leave(proxy, Event.FAIL)
        self._sandboxes.gone(proxy)
        if waiting is None:
            self._prewarm_failed()
        else:
            self._never_ran(waiting, failure(Status.WHISK_ERROR, NO_RESOURCES))
        self._made_room()

    async def _created(self, proxy: Proxy, sandbox: Sandbox) -> None:
        self._sandboxes.started(proxy, sandbox)
        if self._stopping and proxy.waiting is None:
            self._remove(proxy, Event.REMOVE)
            return
        sandbox.exited.add_done_callback(lambda _: self._exited(proxy))
        if proxy.waiting is not None:
            await self._init(proxy)
        else:
            self._serve_queue()

    async def _init(self, proxy: Proxy) -> None:
        """Fetch the code and begin, if the sandbox lives and somebody still waits."""
        waiting = proxy.waiting
        if waiting is None:
            return
        code = await self._fetch(waiting)
        if proxy.state is not State.PREWARMED:
            return  # it died meanwhile: `_exited` has seen to the job
        if code is None or waiting.future.done():
            self._unbind(proxy)
            self._remove(proxy, Event.REMOVE)
            self._made_room()
        elif proxy.alive:
            proxy.init(waiting, code)
        else:
            self._exited(proxy)

    async def _fetch(self, waiting: Waiting) -> str | None:
        """The code, None when there is none: then the job has ended (C19)."""
        try:
            return await self._code_of(waiting.job.action)
        except NotFound:
            self._never_ran(waiting, failure(Status.APPLICATION_ERROR, NOT_FOUND))
        except Exception:
            log.exception("the code of %s cannot be read", waiting.job.action.name)
            self._never_ran(waiting, failure(Status.WHISK_ERROR, NOT_FETCHED))
        return None

    def _exited(self, proxy: Proxy) -> None:
        """A sandbox has died. One that runs or initializes says so by its answer."""
        if proxy.state not in (State.PREWARMED, State.READY):
            return
        waiting = self._unbind(proxy)
        if waiting is not None:
            self._put_back(waiting)
        elif proxy.state is State.PREWARMED:
            self._prewarm_failed()
        self._remove(proxy, Event.FAIL)
        self._made_room()

    def _prewarm_failed(self) -> None:
        self._prewarm_after_ns = self.clock() + PREWARM_PAUSE_NS

    async def _destroy(self, proxy: Proxy) -> None:
        try:
            async with asyncio.timeout(DESTROY_TIMEOUT_S):
                await proxy.sandbox.destroy()
        except Exception:
            log.exception("%r could not be destroyed", proxy)
        if proxy.state is State.REMOVING:
            self._sandboxes.gone(proxy)
            self._serve_queue()
            self._prewarm()

    # -- upkeep -------------------------------------------------------------------

    async def _keep_up(self) -> None:
        pause_s = min(max(self._settings.idle_s / 10, UPKEEP_LEAST_S), UPKEEP_MOST_S)
        while True:
            self._expire()
            self._prewarm()
            await asyncio.sleep(pause_s)

    def _expire(self) -> None:
        idle_ns = round(self._settings.idle_s * 1_000_000_000)
        old = policy.expired(
            self._sandboxes.idle_since(), now_ns=self.clock(), idle_ns=idle_ns
        )
        self._evict(old)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._group is None:
            work.close()  # only when run() has been cancelled: close() does the rest
            return
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _cancel(waiting: list[Waiting]) -> None:
    for each in waiting:
        each.future.cancel()
