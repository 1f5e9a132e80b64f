"""Any order of events: jobs arrive, sandboxes start, answer, fail, die and expire.

Holds are on everywhere, so that nothing goes on unless a rule lets it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from edge_agent.model.activations import Answer, Cause, Gone, Said
from edge_agent.model.entities import Action, ActionLimits, Exec
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.pool.lifecycle import State
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.base import RunRequest
from edge_agent.sandbox.fake import FakeFactory
from edge_agent.settings import Pool as PoolSettings

MEMORY_MB = {"a": 256, "b": 256, "small": 128, "large": 512}
IDLE_NS = 600 * 1_000_000_000
SETTLED = 40
IDENTITY = Identity(subject="guest", namespace="guest", uuid="u", key="k")
ANSWERS: list[Said] = [
    Answer(b"{}"),
    Answer(b"{}"),
    Answer(b'{"error":1}'),
    Answer(b"3"),
    Gone(Cause.TIMED_OUT),
]


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.broken: list[object] = []
        self.loop.set_exception_handler(lambda _, what: self.broken.append(what))
        self.now_ns = 1
        self.numbers = count(1)
        self.jobs: dict[str, tuple[Job, asyncio.Future[Finished]]] = {}
        self.given_up: set[str] = set()
        self.most_mb = 1024
        self.abrupt = False
        self.factory = FakeFactory()
        self.factory.hold_creates = True
        self.factory.hold_inits = True
        self.factory.hold_runs = True
        self.pool = Pool(
            self.factory,
            settings=PoolSettings(
                memory_mb=1024,
                nested_memory_mb=0,
                queue_jobs=12,
                prewarm={"nodejs:20": 1},
            ),
            code_of=self.code_of,
            api_host="",
            response_limit=1 << 20,
            clock=lambda: self.now_ns,
            wall_ms=lambda: 0,
        )
        self.task = self.loop.create_task(self.pool.run())
        self.tick(2)

    async def code_of(self, _: Action) -> str:
        await asyncio.sleep(0)
        return "code"

    def tick(self, times: int) -> None:
        async def pass_turns() -> None:
            for _ in range(times):
                await asyncio.sleep(0)
                self.check_memory()

        self.loop.run_until_complete(pass_turns())

    @initialize(abrupt=st.booleans())
    def the_end_is_chosen(self, *, abrupt: bool) -> None:
        self.abrupt = abrupt

    def unended(self) -> list[str]:
        return [i for i, (_, future) in self.jobs.items() if not future.done()]

    # -- what may happen ----------------------------------------------------------

    @rule(
        name=st.sampled_from(sorted(MEMORY_MB)),
        blocking=st.booleans(),
        kind=st.sampled_from(["python:3.11", "nodejs:20"]),
    )
    def submit(self, name: str, kind: str, *, blocking: bool) -> None:
        activation_id = f"{next(self.numbers):032x}"
        job = Job(
            activation_id=activation_id,
            action=Action(
                namespace="guest",
                name=f"{name}-{kind[0]}",
                exec=Exec(kind=kind),
                limits=ActionLimits(memory=MEMORY_MB[name]),
            ),
            identity=IDENTITY,
            arguments=b"{}",
            accepted_ns=self.now_ns,
            accepted_ms=0,
            transaction_id="t",
            blocking=blocking,
        )

        async def submit() -> asyncio.Future[Finished]:
            return self.pool.submit(job)

        try:
            future = self.loop.run_until_complete(submit())
        except Unavailable:
            assert self.pool.view().queued >= 6
        else:
            self.jobs[activation_id] = (job, future)

    @rule(number=st.integers(min_value=1, max_value=3), fail=st.booleans())
    def creates_end(self, number: int, *, fail: bool) -> None:
        self.factory.fail_creates = int(fail)
        self.factory.release_creates(number)
        self.tick(1)

    @precondition(lambda self: self.factory.busy)
    @rule(data=st.data(), said=st.sampled_from(ANSWERS), ms=st.integers(0, 150))
    def one_answers(self, data: st.DataObject, said: Said, ms: int) -> None:
        self.now_ns += ms * 1_000_000
        data.draw(st.sampled_from(self.factory.busy)).release(said)

    @precondition(lambda self: self.factory.live)
    @rule(data=st.data())
    def one_dies(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.factory.live.values()))).die()

    @rule(part=st.sampled_from([0.5, 1.0]))
    def time_passes(self, part: float) -> None:
        self.now_ns += round(IDLE_NS * part)
        self.pool._expire()
        self.pool.made_room()

    @rule(memory_mb=st.sampled_from([512, 768, 1024]))
    def the_memory_is_changed(self, memory_mb: int) -> None:
        self.most_mb = max(self.pool.view().used_mb, memory_mb)
        self.pool.set_memory_mb(memory_mb)

    @precondition(lambda self: self.unended())
    @rule(data=st.data())
    def a_caller_gives_up(self, data: st.DataObject) -> None:
        activation_id = data.draw(st.sampled_from(self.unended()))
        self.given_up.add(activation_id)
        self.jobs[activation_id][1].cancel()

    @rule(times=st.integers(min_value=1, max_value=4))
    def a_little_goes_on(self, times: int) -> None:
        self.tick(times)

    @rule()
    def all_goes_on_that_can(self) -> None:
        self.tick(SETTLED)
        self.check_nothing_waits_for_nothing()

    # -- what must always hold ----------------------------------------------------

    @invariant()
    def check_memory(self) -> None:
        """Not even those that are being destroyed are forgotten."""
        view = self.pool.view()
        live_mb = sum(s.spec.memory_mb for s in self.factory.live.values())
        assert live_mb <= view.used_mb
        assert view.used_mb <= self.most_mb
        if view.used_mb <= view.memory_mb:
            self.most_mb = view.memory_mb

    @invariant()
    def the_counts_are_what_there_is(self) -> None:
        sandboxes = self.pool._sandboxes
        assert sandboxes.used_mb == sum(p.spec.memory_mb for p in sandboxes)
        leaving = [p for p in sandboxes if p.state is State.REMOVING]
        assert sandboxes.freeing_mb == sum(p.spec.memory_mb for p in leaving)
        bound = [p for p in sandboxes if p.waiting is not None]
        assert self.pool.view().active == len(bound)
        assert {p.waiting.job.activation_id for p in bound if p.waiting} <= set(
            self.jobs
        )

    @invariant()
    def no_activation_is_run_twice(self) -> None:
        ran = Counter(self._ran())
        assert set(ran.values()) <= {1}

    @invariant()
    def jobs_of_one_action_and_lane_begin_in_order(self) -> None:
        begun: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for call in self.factory.asked("init") + self.factory.asked("run"):
            activation_id = _activation_of(call.request)
            job = self.jobs[activation_id][0]
            order = begun[job.action.name, job.blocking]
            if activation_id not in order:
                order.append(activation_id)
        # Inits of one action may overtake each other while their sandboxes start;
        # what a warm sandbox runs comes in order.
        warm = self._warm_starts()
        for order in begun.values():
            chosen = [i for i in order if i in warm]
            assert chosen == sorted(chosen)

    def check_nothing_waits_for_nothing(self) -> None:
        """Whenever something is queued, something is under way that will end."""
        view = self.pool.view()
        if view.queued:
            going = Counter(view.states)
            under_way = sum(
                going[s] for s in (State.STARTING, State.INITIALIZING, State.RUNNING)
            )
            assert under_way, f"{view.queued} jobs wait for nothing: {view}"
        for proxy in self.pool._sandboxes:
            assert proxy.state is not State.REMOVING
            assert proxy.state is State.STARTING or proxy.alive

    def teardown(self) -> None:
        if not self.abrupt:
            self.let_all_end()
        self._close()
        assert not self.unended(), "a job was forgotten"
        assert not self.broken, "a callback raised"
        assert not self.factory.live
        assert self.pool.view().used_mb == 0

    def let_all_end(self) -> None:
        for _ in range(200):
            if not self.unended():
                break
            self.factory.release_creates()
            for sandbox in self.factory.busy:
                sandbox.release()
            self.tick(SETTLED)
        assert not self.unended(), "a job never ended"
        for activation_id, (_, future) in self.jobs.items():
            assert future.cancelled() == (activation_id in self.given_up)

    def _close(self) -> None:
        async def close() -> None:
            self.factory.hold_creates = False
            self.factory.release_creates()
            await self.pool.close()
            self.task.cancel()
            await asyncio.wait([self.task])

        self.loop.run_until_complete(close())
        self.loop.close()

    def _ran(self) -> list[str]:
        return [_activation_of(call.request) for call in self.factory.asked("run")]

    def _warm_starts(self) -> set[str]:
        inits = {_activation_of(c.request) for c in self.factory.asked("init")}
        return set(self._ran()) - inits


def _activation_of(request: object) -> str:
    if isinstance(request, RunRequest):
        return request.context["activation_id"]
    return str(request.env["__OW_ACTIVATION_ID"])  # type: ignore[attr-defined]


TestPoolStateful = PoolMachine.TestCase
TestPoolStateful.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
