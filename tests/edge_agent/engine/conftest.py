"""An engine on a real store, with a pool whose jobs end when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from edge_agent.engine.engine import Engine
from edge_agent.model.activations import Response, StartKind, success
from edge_agent.model.entities import Action, Exec, KeyValue, Reference, Rule, Trigger
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream


class HandPool:
    """Holds every job until `end` is called; `room` bounds how many."""

    def __init__(self, *, slots: int = 2, room: int = 1_000_000) -> None:
        self.slots = slots
        self.room = room
        self.held: dict[str, tuple[Job, asyncio.Future[Finished]]] = {}
        self.order: list[str] = []
        self.automatic = False

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        if len(self.held) >= self.room:
            raise Unavailable("no room")
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self.order.append(job.activation_id)
        self.held[job.activation_id] = (job, future)
        if self.automatic:
            self.end(job.activation_id)
        return future

    def end(self, activation_id: str, response: Response | None = None) -> None:
        job, future = self.held.pop(activation_id)
        future.set_result(
            Finished(
                response=response or success(job.arguments),
                start_ms=time.time_ns() // 1_000_000,
                wait_ms=1,
                run_ms=2,
                start=StartKind.WARM,
            )
        )

    def cancel_all(self) -> None:
        for _, future in self.held.values():
            future.cancel()
        self.held.clear()


class House:
    """The engine and what it stands on."""

    def __init__(self, store: Store, pool: HandPool, identity: Identity) -> None:
        self.store = store
        self.pool = pool
        self.identity = identity
        self.stream = ActivationStream()
        self.engine = Engine(
            store=store,
            pool=pool,
            builtins={},
            stream=self.stream,
            log=ActivationLog(),
        )

    async def put_action(self, name: str = "a", **parameters: object) -> Action:
        action = Action(
            namespace="guest",
            name=name,
            exec=Exec(kind="python:3.11", binary=False),
            parameters=[KeyValue(key=k, value=v) for k, v in parameters.items()],
        )
        await self.store.entities.put(action, code="def main(a): return a")
        return action

    async def put_trigger(self, *rules: tuple[str, str, bool]) -> None:
        """Trigger `t` with rules (name, action, active)."""
        await self.store.entities.put(Trigger(namespace="guest", name="t"))
        for name, action, active in rules:
            await self.store.entities.put(
                Rule(
                    namespace="guest",
                    name=name,
                    trigger=Reference(path="guest", name="t"),
                    action=Reference(path="guest", name=action),
                    active=active,
                )
            )


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[..., Store]:
    return lambda **settings: Store(tmp_path / "data", StoreSettings(**settings))


async def make_house(store: Store) -> House:
    return House(store, HandPool(), await store.subjects.ensure("guest"))


@pytest.fixture
def open_house() -> Callable[[Store], Awaitable[House]]:
    return make_house


@pytest.fixture
async def house(open_store: Callable[..., Store]) -> AsyncIterator[House]:
    async with open_store() as store:
        yield await make_house(store)
