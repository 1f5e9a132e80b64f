"""The pool over real processes: what a scripted sandbox cannot show."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from edge_agent import settings
from edge_agent.model.activations import StartKind, Status
from edge_agent.model.entities import Action
from edge_agent.model.jobs import Finished, Job
from edge_agent.pool.lifecycle import State
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.process import ProcessFactory

pytestmark = pytest.mark.sandbox

COUNTER = """
import os
count = 0
def main(args):
    global count
    count += 1
    return {"count": count, "pid": os.getpid(), "name": os.environ["__OW_ACTION_NAME"]}
"""
CRASH = "import os\ndef main(args):\n    os._exit(3)\n"
ENDLESS = "def main(args):\n    while True:\n        pass\n"
SLEEP = "import time\ndef main(args):\n    time.sleep(0.2)\n    return {}\n"
CODES = {"counter": COUNTER, "crash": CRASH, "endless": ENDLESS, "sleep": SLEEP}

Submit = Callable[..., asyncio.Future[Finished]]


@pytest.fixture
async def factory() -> AsyncIterator[ProcessFactory]:
    factory = await ProcessFactory.open(settings.Sandboxing(), settings.Runtimes())
    yield factory
    await factory.close()


@pytest.fixture
async def pool(factory: ProcessFactory) -> AsyncIterator[Pool]:
    async def code_of(action: Action) -> str:
        return CODES[action.name]

    pool = Pool(
        factory,
        settings=settings.Pool(memory_mb=512),
        code_of=code_of,
        api_host="http://127.0.0.1:1",
        response_limit=1 << 20,
    )
    task = asyncio.create_task(pool.run(), name="pool")
    await pool.running()
    yield pool
    await pool.close()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not factory.live


@pytest.fixture
def submit(pool: Pool, make_job: Callable[..., Job]) -> Submit:
    def submit(name: str, **given: Any) -> asyncio.Future[Finished]:
        given.setdefault("kind", "python:default")
        given.setdefault("accepted_ns", pool.clock())
        return pool.submit(make_job(name, **given))

    return submit


def result_of(finished: Finished) -> Any:
    assert finished.response.success, finished
    return msgspec.json.decode(finished.response.result)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def test_the_same_process_serves_all_warm_starts(submit: Submit) -> None:
    answers = [result_of(await submit("counter")) for _ in range(3)]
    assert [a["count"] for a in answers] == [1, 2, 3]
    assert len({a["pid"] for a in answers}) == 1
    assert answers[0]["name"] == "/guest/counter"


async def test_a_crash_ends_the_job_and_the_next_one_starts_cold(
    submit: Submit, pool: Pool
) -> None:
    for _ in range(2):
        finished = await submit("crash")
        assert finished.response.code is Status.DEVELOPER_ERROR
        assert finished.start is StartKind.COLD
    await until(lambda: pool.view().used_mb == 0)


async def test_a_job_out_of_time_is_ended_and_its_sandbox_destroyed(
    submit: Submit, pool: Pool
) -> None:
    finished = await submit("endless", limits={"timeout": 300})
    assert finished.timed_out
    assert 300 <= finished.run_ms < 2_000
    await until(lambda: pool.view().used_mb == 0)


async def test_an_idle_process_that_is_killed_is_replaced(
    submit: Submit, pool: Pool, factory: ProcessFactory
) -> None:
    await submit("counter")
    os.kill(factory.live[0].pid, signal.SIGKILL)
    await until(lambda: not pool.view().states)
    assert result_of(await submit("counter"))["count"] == 1


async def test_a_full_pool_makes_room_and_never_has_more_processes_than_memory(
    submit: Submit, factory: ProcessFactory
) -> None:
    futures = [submit(name) for name in ("counter", "sleep", "counter", "sleep") * 3]
    while not all(f.done() for f in futures):
        assert len(factory.live) <= 2
        await asyncio.sleep(0.002)
    assert all(f.result().response.success for f in futures)


async def test_a_drained_pool_keeps_no_process(
    submit: Submit, pool: Pool, factory: ProcessFactory
) -> None:
    running = submit("sleep")
    await until(lambda: pool.view().states.get(State.RUNNING))
    await pool.drain(5)
    assert running.result().response.success
    await pool.close()
    assert not factory.live
