"""The keeper makes and unmakes sandboxes; which and when, the pool and the policy say.

Everything here is the cold path: tasks may be spent on it. A sandbox is made for one
job or to stand prewarmed. What becomes of a job on the way is reported to the pool:

- it has begun: the proxy reports its end by `Jobs.job_done`;
- it cannot be run: `Jobs.job_failed`;
- its sandbox died before anything was sent to it: `Jobs.job_back`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from edge_agent.model.activations import Response, StartKind, Status, failure
from edge_agent.pool import policy
from edge_agent.pool.figures import PrewarmCounts
from edge_agent.pool.lifecycle import Event, State
from edge_agent.pool.party import Party
from edge_agent.pool.proxy import Owner, Proxy
from edge_agent.pool.queue import Waiting
from edge_agent.pool.refusal import NO_RESOURCES, CodeOf, fetch
from edge_agent.pool.sandboxes import Sandboxes
from edge_agent.pool.tasks import Tasks
from edge_agent.sandbox.base import (
    ActionToBlame,
    Sandbox,
    SandboxError,
    SandboxFactory,
    SandboxSpec,
)

log = logging.getLogger(__name__)

#: How long the making and the unmaking of a sandbox may take.
CREATE_TIMEOUT_S = 60.0
DESTROY_TIMEOUT_S = 30.0
#: After a prewarmed sandbox failed no other is started for so long.
PREWARM_PAUSE_NS = 10 * 1_000_000_000


class Jobs(Owner, Protocol):
    """The pool, as the keeper sees it."""

    def job_failed(self, waiting: Waiting, response: Response) -> None: ...

    def jobs_back(self, boarded: list[Waiting]) -> None: ...

    def job_back(self, waiting: Waiting) -> None: ...

    def made_room(self) -> None: ...


class Keeper:
    """`prewarm` is how many of which kind shall stand ready."""

    def __init__(
        self,
        factory: SandboxFactory,
        sandboxes: Sandboxes,
        *,
        jobs: Jobs,
        tasks: Tasks,
        code_of: CodeOf,
        prewarm: Mapping[str, int],
    ) -> None:
        self._factory = factory
        self._sandboxes = sandboxes
        self._jobs = jobs
        self._tasks = tasks
        self._code_of = code_of
        self._prewarm = prewarm
        self._prewarm_after_ns = 0
        self.replace_later = False
        self.prewarm_counts = PrewarmCounts()

    def create_for(self, waiting: Waiting, kind: str) -> None:
        spec = SandboxSpec(kind, waiting.memory_mb, waiting.network)
        proxy = Proxy(spec, self._jobs)
        proxy.bind(waiting, StartKind.COLD)
        if self._prewarm and kind in self._wanted():
            self.prewarm_counts.cold[kind, waiting.memory_mb] += 1
        self._convene(proxy, waiting)
        self._start(proxy, name=f"pool.create {waiting.job.activation_id}")

    def use_prewarmed(self, proxy: Proxy, waiting: Waiting) -> None:
        """Another is started for it at once where none is left, else when a job ends.

        Its start would take the processor from what is waited for.
        """
        self._sandboxes.use_prewarmed(proxy)
        spec = proxy.spec
        left = self._sandboxes.prewarmed_for(spec.kind, spec.memory_mb)
        self.replace_later = left is not None
        proxy.bind(waiting, StartKind.PREWARMED)
        self._convene(proxy, waiting)
        name = f"pool.init {waiting.job.activation_id}"
        self._tasks.spawn(self._init(proxy, waiting), name=name)

    # -- sandboxes for several jobs at once (party.py) ------------------------------

    def _convene(self, proxy: Proxy, waiting: Waiting) -> None:
        if waiting.concurrency > 1:
            party = Party(proxy, waiting.concurrency)
            self._sandboxes.expect(party, waiting.revision)

    def board(self, host: Proxy, waiting: Waiting) -> None:
        if host.party is not None:
            host.party.boarded.append(waiting)

    def boarded(self) -> list[Waiting]:
        parties = [proxy.party for proxy in self._sandboxes if proxy.party]
        return [waiting for party in parties for waiting in party.boarded]

    def seat(self, host: Proxy, *, concurrent: bool) -> list[Waiting]:
        """It is initialized: make its seats, and tell who waits for them."""
        party = host.party
        if party is None:
            return []
        boarded = self._disembark(party)
        if not concurrent or host.retired:
            host.party = None
            return boarded
        for seat in party.add_seats():
            self._sandboxes.seat(seat)
            seat.sandbox.exited.add_done_callback(partial(self._seat_exited, seat))
        return boarded

    def _disembark(self, party: Party) -> list[Waiting]:
        self._sandboxes.expect_no_more(party)
        return party.leave()

    def _seat_exited(self, seat: Proxy, _: asyncio.Future[None]) -> None:
        self._exited(seat)

    def _dissolve(self, party: Party, proxy: Proxy, event: Event) -> None:
        """`proxy` leaves for good, and all seats with it: busy ones at their end."""
        self._jobs.jobs_back(self._disembark(party))
        party.stop()
        for seat in party.seats:
            if seat is proxy or seat.state is State.READY:
                self._sandboxes.leave(seat, event if seat is proxy else Event.REMOVE)
                self._sandboxes.gone(seat)
        host = party.host
        if host is proxy or host.state is State.READY:
            self._remove(host, event if host is proxy else Event.REMOVE)
        party.note_quiet()

    # -- ahead, and away -------------------------------------------------------------

    def prewarm(self) -> None:
        """Start what is missing of the prewarmed, as far as memory goes."""
        self.replace_later = False
        if not self._prewarm or self._jobs.clock() < self._prewarm_after_ns:
            return
        sandboxes = self._sandboxes
        missing = policy.to_prewarm(
            self._wanted(),
            sandboxes.standing(),
            free_mb=sandboxes.memory_mb - sandboxes.used_mb,
        )
        for kind in missing:
            spec = SandboxSpec(kind, policy.STANDARD_MB)
            self._start(Proxy(spec, self._jobs), name=f"pool.prewarm {kind}")

    def evict(self, victims: tuple[Proxy, ...]) -> None:
        for proxy in victims:
            self.remove(proxy, Event.REMOVE)

    def retire_all(self) -> None:
        """No job after those of now runs in a sandbox that there is now."""
        for proxy in self._sandboxes:
            proxy.retired = True
            if proxy.waiting is None and proxy.state in (State.READY, State.PREWARMED):
                self.remove(proxy, Event.REMOVE)

    def remove(self, proxy: Proxy, event: Event) -> None:
        if proxy.party is not None:
            self._dissolve(proxy.party, proxy, event)
        else:
            self._remove(proxy, event)

    def _remove(self, proxy: Proxy, event: Event) -> None:
        if proxy.state is State.PREWARMED:
            spec = proxy.spec
            self.prewarm_counts.unused[spec.kind, spec.memory_mb] += 1
        self._sandboxes.leave(proxy, event)
        name = f"pool.destroy {proxy.sandbox.id}"
        self._tasks.spawn(self._destroy(proxy), name=name)

    async def close(self) -> None:
        """Destroy them all at the same time; wait for those that are being made."""
        self._let_go_of_all()
        await self._tasks.settle(CREATE_TIMEOUT_S)
        for proxy in self._sandboxes:
            if proxy.state is State.STARTING:  # cancelled before its task began
                self._not_created(proxy)
        self._let_go_of_all()  # of those that were being made, too
        async with asyncio.TaskGroup() as group:
            for proxy in self._sandboxes:
                group.create_task(self._destroy(proxy), name=f"pool.close {proxy}")

    def _let_go_of_all(self) -> None:
        for proxy in self._sandboxes:
            if proxy.party is not None:
                proxy.party.quiet.set()
            if proxy.state not in (State.STARTING, State.REMOVING):
                self._sandboxes.leave(proxy, Event.FAIL)

    def _wanted(self) -> dict[str, int]:
        """By concrete kind; a kind that nothing installed serves is left out."""
        found: dict[str, int] = {}
        for kind, count in self._prewarm.items():
            if concrete := self._factory.resolve(kind):
                found[concrete] = found.get(concrete, 0) + count
        return found

    def _start(self, proxy: Proxy, *, name: str) -> None:
        self._sandboxes.start(proxy)
        self._tasks.spawn(self._create(proxy), name=name)

    async def _create(self, proxy: Proxy) -> None:
        """Start a sandbox, and give it its job if it was made for one."""
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_S):
                sandbox = await self._factory.create(proxy.spec)
        except asyncio.CancelledError:
            if proxy.waiting is not None:
                proxy.waiting.future.cancel()
            self._not_created(proxy)
            raise
        except Exception as error:
            known = isinstance(error, SandboxError | TimeoutError)
            log.warning(
                "no sandbox for %s: %s",
                proxy.spec.kind,
                error,
                exc_info=None if known else error,
                extra=proxy.waiting.job.log_fields if proxy.waiting else None,
            )
            self._not_created(proxy, _what_to_say(error))
        else:
            await self._created(proxy, sandbox)

    def _not_created(self, proxy: Proxy, response: Response = NO_RESOURCES) -> None:
        self._sandboxes.leave(proxy, Event.FAIL)
        self._sandboxes.gone(proxy)
        if proxy.party is not None:
            self._jobs.jobs_back(self._disembark(proxy.party))
        waiting = proxy.unbind()
        if waiting is None:
            self._pause_prewarming()
        else:
            self._jobs.job_failed(waiting, response)
        self._jobs.made_room()

    async def _created(self, proxy: Proxy, sandbox: Sandbox) -> None:
        self._sandboxes.started(proxy, sandbox)
        sandbox.exited.add_done_callback(lambda _: self._exited(proxy))
        if proxy.waiting is not None:
            await self._init(proxy, proxy.waiting)
            return
        if proxy.retired:
            self.remove(proxy, Event.REMOVE)
        self._jobs.made_room()

    async def _init(self, proxy: Proxy, waiting: Waiting) -> None:
        """Fetch the code and begin, if the sandbox lives and somebody still waits."""
        code = await fetch(self._code_of, waiting.job)
        if proxy.state is not State.PREWARMED:
            return  # it has died meanwhile, and the job was seen to
        if not proxy.alive:
            self._exited(proxy)
        elif isinstance(code, str) and not waiting.future.done():
            proxy.init(waiting, code)
        else:
            proxy.unbind()
            self._jobs.job_failed(
                waiting, NO_RESOURCES if isinstance(code, str) else code
            )
            self.remove(proxy, Event.REMOVE)

    def _exited(self, proxy: Proxy) -> None:
        """A sandbox has died. One that runs or initializes says so by its answer."""
        if proxy.state not in (State.PREWARMED, State.READY):
            return
        waiting = proxy.unbind()
        if waiting is None and proxy.state is State.PREWARMED:
            self._pause_prewarming()
        self.remove(proxy, Event.FAIL)
        if waiting is not None:
            self._jobs.job_back(waiting)

    def _pause_prewarming(self) -> None:
        """A runtime that cannot start must not be started in a loop."""
        self._prewarm_after_ns = self._jobs.clock() + PREWARM_PAUSE_NS

    async def _destroy(self, proxy: Proxy) -> None:
        if proxy.party is not None:
            await proxy.party.quiet.wait()
        try:
            async with asyncio.timeout(DESTROY_TIMEOUT_S):
                await proxy.sandbox.destroy()
        except Exception:
            log.exception("%r could not be destroyed", proxy)
        if proxy.state is State.REMOVING:
            self._sandboxes.gone(proxy)
            self._jobs.made_room()


def _what_to_say(error: Exception) -> Response:
    """C17 where the action is to blame, else C18."""
    if isinstance(error, ActionToBlame):
        return failure(Status.DEVELOPER_ERROR, str(error))
    return NO_RESOURCES
