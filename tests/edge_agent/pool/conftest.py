"""Jobs, and a running pool over scripted sandboxes with a clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from edge_agent.model.entities import Action, ActionLimits, Exec, KeyValue
from edge_agent.model.errors import NotFound
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.fake import FakeFactory, FakeSandbox
from edge_agent.settings import Pool as PoolSettings

WALL_MS = 1_700_000_000_000
MS = 1_000_000

_numbers = count(1)


@dataclass
class Clock:
    """Time that passes when the test says so; monotonic and wall move together."""

    now_ns: int = 5_000 * MS

    def __call__(self) -> int:
        return self.now_ns

    def wall_ms(self) -> int:
        return WALL_MS + self.now_ns // MS

    def pass_ms(self, ms: int) -> None:
        self.now_ns += ms * MS


def job_of(
    name: str = "hello",
    *,
    memory: int = 256,
    kind: str = "python:3.11",
    namespace: str = "guest",
    version: str = "0.0.1",
    updated: int = 1,
    annotations: dict[str, Any] | None = None,
    exec_fields: dict[str, Any] | None = None,
    limits: dict[str, int] | None = None,
    package: str | None = None,
    **fields: Any,
) -> Job:
    action = Action(
        namespace=f"guest/{package}" if package else "guest",
        name=name,
        version=version,
        updated=updated,
        exec=Exec(kind=kind, **(exec_fields or {})),
        limits=ActionLimits(memory=memory, **(limits or {})),
        annotations=[KeyValue(key=k, value=v) for k, v in (annotations or {}).items()],
    )
    identity = Identity(subject=namespace, namespace=namespace, uuid="u", key="k")
    given: dict[str, Any] = {
        "activation_id": f"{next(_numbers):032x}",
        "arguments": b"{}",
        "accepted_ns": 5_000 * MS,
        "accepted_ms": WALL_MS,
        "transaction_id": "tid",
    }
    return Job(action=action, identity=identity, **(given | fields))


@pytest.fixture
def make_job() -> Callable[..., Job]:
    return job_of


@dataclass
class House:
    """A pool, its factory and its clock. `codes` are the actions that have code."""

    pool: Pool
    factory: FakeFactory
    clock: Clock
    task: asyncio.Task[None]
    missing: set[str] = field(default_factory=set)

    def submit(self, name: str = "hello", **given: Any) -> asyncio.Future[Finished]:
        given.setdefault("accepted_ns", self.clock.now_ns)
        return self.pool.submit(job_of(name, **given))

    async def done(self, name: str = "hello", **given: Any) -> Finished:
        return await asyncio.wait_for(self.submit(name, **given), 5)

    async def settle(self) -> None:
        """Let every task and callback that can go on do so."""
        for _ in range(30):
            await asyncio.sleep(0)

    @property
    def sandboxes(self) -> list[FakeSandbox]:
        return self.factory.made

    def asked(self, what: str) -> list[str]:
        """Ids of the sandboxes that were asked for it, in order."""
        return [call.sandbox_id for call in self.factory.asked(what)]

    def states(self) -> dict[str, int]:
        return {str(state): n for state, n in self.pool.view().states.items()}


Open = Callable[..., Awaitable[House]]


@asynccontextmanager
async def running(
    factory: FakeFactory, settings: dict[str, Any]
) -> AsyncIterator[House]:
    clock = Clock()
    missing: set[str] = set()
    broken: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: broken.append(context))

    async def code_of(action: Action) -> str:
        await asyncio.sleep(0)
        if action.name in missing:
            raise NotFound(action.name)
        if action.name == "unreadable":
            raise OSError("disk")
        return f"code of {action.name}"

    pool = Pool(
        factory,
        settings=PoolSettings(**{"nested_memory_mb": 0, **settings}),
        code_of=code_of,
        api_host="http://127.0.0.1:3233",
        response_limit=1 << 20,
        clock=clock,
        wall_ms=clock.wall_ms,
    )
    task = asyncio.create_task(pool.run(), name="pool")
    await pool.running()
    try:
        yield House(pool, factory, clock, task, missing)
    finally:
        await pool.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not factory.live, "sandboxes were left behind"
        assert len(asyncio.all_tasks()) == 1, "tasks were left behind"
        assert not broken, "a callback raised"


@pytest.fixture
async def open_pool() -> AsyncIterator[Open]:
    """Opens running pools: settings, and a factory, are keywords."""
    async with AsyncExitStack() as stack:

        async def open_one(
            *, factory: FakeFactory | None = None, **settings: Any
        ) -> House:
            house = running(factory or FakeFactory(), settings)
            return await stack.enter_async_context(house)

        yield open_one
