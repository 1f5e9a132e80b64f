"""Accept, finish, fail, crash and restart in any order: each event ends exactly once.

The store is a real one. A crash takes what is in the data folder at that moment, as
SIGKILL leaves it: lazy work that was not committed is lost, the marks of what ran stay.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec import Raw

from edge_agent.engine.engine import Engine
from edge_agent.model.activations import Response, StartKind, Status, failure, success
from edge_agent.model.delivery import Failure, RetryPolicy
from edge_agent.model.entities import Action, Exec
from edge_agent.model.jobs import Finished, Job
from edge_agent.model.names import new_activation_id
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.inbox import Accepted
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ALL, ActivationStream

POLICY = RetryPolicy(
    max=2, backoff_ms=4, max_backoff_ms=8, on=(Failure.APPLICATION_ERROR,)
)
NAMES = st.sampled_from([None, None, "a", "b"])


class WatchingPool:
    """Holds jobs, and sees to it that nobody overtakes in a line or runs twice."""

    slots = 2

    def __init__(self, of_line: dict[str, str | None], ended: set[str]) -> None:
        self.of_line = of_line
        self.ended = ended
        self.held: dict[str, asyncio.Future[Finished]] = {}
        self.wrong: list[str] = []

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        name = job.activation_id
        if name in self.held or name in self.ended:
            self.wrong.append(f"{name} runs once more")
        line = self.of_line[name]
        if line is not None:
            before = [n for n, of in self.of_line.items() if of == line]
            older = before[: before.index(name)]
            if not self.ended.issuperset(older):
                self.wrong.append(f"{name} overtakes in line {line}")
        future = self.held[name] = asyncio.get_running_loop().create_future()
        return future

    def end(self, name: str, response: Response) -> None:
        self.held.pop(name).set_result(
            Finished(
                response=response,
                start_ms=time.time_ns() // 1_000_000,
                wait_ms=0,
                run_ms=0,
                start=StartKind.WARM,
            )
        )


class Deliveries(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = Path(tempfile.mkdtemp(prefix="delivery-"))
        self.lives = 0
        self.of_line: dict[str, str | None] = {}

    @initialize()
    def begin(self) -> None:
        self.run(self._open(self.home / "0"))

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.run(self._finish_all())
        finally:
            self.loop.close()
            shutil.rmtree(self.home)

    def run(self, work: Any) -> Any:
        done = self.loop.run_until_complete(asyncio.wait_for(work, 5))
        assert self.pool.wrong == []
        return done

    # -- what may happen ---------------------------------------------------------

    @rule(lines=st.lists(NAMES, min_size=1, max_size=6), ttl=st.sampled_from([None, 1]))
    def accept(self, lines: list[str | None], ttl: int | None) -> None:
        rows = [
            Accepted(
                activation_id=new_activation_id(),
                namespace="guest",
                action="guest/a",
                version="0.0.1",
                arguments=Raw(b"{}"),
                accepted_ms=time.time_ns() // 1_000_000,
                transaction_id="t",
                retry=POLICY,
                line=line,
                ttl_ms=ttl,
            )
            for line in lines
        ]
        self.of_line.update((r.activation_id, r.line) for r in rows)
        self.run(self.engine.accept(rows))

    # What runs when is a matter of time: a rule draws a place, never a name.
    @rule(place=st.integers(0, 99), well=st.booleans())
    def end_one(self, place: int, well: bool) -> None:
        held = sorted(self.pool.held)
        failed = failure(Status.APPLICATION_ERROR, "no")
        if held:
            name = held[place % len(held)]
            self.run(self._end(name, success(b"{}") if well else failed))

    @rule(ms=st.sampled_from([0, 1, 10]))
    def wait(self, ms: int) -> None:
        self.run(asyncio.sleep(ms / 1000))

    @rule(place=st.integers(0, 999))
    def drop(self, place: int) -> None:
        if self.of_line:
            self.run(self._drop(list(self.of_line)[place % len(self.of_line)]))

    @rule()
    def restart(self) -> None:
        self.run(self._restart(crash=False))

    @rule()
    def crash(self) -> None:
        self.run(self._restart(crash=True))

    # -- how ---------------------------------------------------------------------

    async def _open(self, folder: Path) -> None:
        store = self.store = await Store(folder, StoreSettings(lazy_ms=5)).__aenter__()
        await store.subjects.ensure("guest")
        exec_ = Exec(kind="python:3.11", binary=False)
        action = Action(namespace="guest", name="a", exec=exec_)
        await store.entities.put(action, code="")
        rows = await store.inbox.page(None, after=0, rows=10_000)
        waiting = {row.accepted.activation_id for row in rows}
        self.ended = set(self.of_line) - waiting
        await self._check_ends(self.ended)
        self.pool = WatchingPool(self.of_line, self.ended)
        self.engine = Engine(
            store=store,
            pool=self.pool,
            builtins={},
            stream=ActivationStream(),
            log=ActivationLog(),
        )
        self.engine.events.publish = self._told  # type: ignore[method-assign]
        self.watch = self.engine.events.subscribe(ALL)
        self.watch.__enter__()
        self.engine.start_delivery()
        await asyncio.sleep(0)

    def _told(self, happening: Any) -> None:
        if happening.event in ("ended", "dead"):
            if happening.activation_id in self.ended:
                self.pool.wrong.append(f"{happening.activation_id} has ended twice")
            self.ended.add(happening.activation_id)

    async def _end(self, name: str, response: Response) -> None:
        self.pool.end(name, response)
        await asyncio.sleep(0)

    async def _drop(self, name: str) -> None:
        known = await self.engine.backlog.page(None, state="", after="", limit=1000)
        of = {item.activation_id: item for item in known.events}
        if name in of and of[name].state != "dead" and name not in self.pool.held:
            from edge_agent.model.errors import Conflict, NotFound

            try:
                await self.engine.backlog.drop(None, name)
            except (Conflict, NotFound):
                assert name in self.pool.held or name in self.ended

    async def _restart(self, *, crash: bool) -> None:
        old, self.lives = self.store, self.lives + 1
        folder = self.home / str(self.lives)
        await self.engine.stop()
        if crash:
            while old.writer._in_flight is not None:
                await asyncio.sleep(0.001)
            shutil.copytree(old._folder, folder)
        await old.__aexit__()
        if not crash:
            shutil.copytree(old._folder, folder)
        await self._open(folder)

    async def _check_ends(self, names: set[str]) -> None:
        for name in names:
            assert await self.store.activations.get("guest", name) is not None
        for filed in await self.store.dead_letters.page(None, after=0, rows=10_000):
            assert filed.letter.accepted.activation_id in names

    async def _finish_all(self) -> None:
        while self.store.inbox.depth:
            for name in list(self.pool.held):
                self.pool.end(name, success(b"{}"))
            await asyncio.sleep(0.001)
        assert self.ended == set(self.of_line)
        await self._check_ends(self.ended)
        assert self.store.inbox.size_bytes == 0
        assert (
            await self.engine.backlog.page(None, state="waiting", after="", limit=9)
        ).events == []
        await self.engine.stop()
        await self.store.__aexit__()
        left = self.engine.delivery.health()
        assert not any(left.values()), left


Deliveries.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None
)
TestDeliveries = Deliveries.TestCase
