"""A future whose callbacks run at once, and is one in all else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge_agent.model.soon import Soon


def soon() -> Soon[int]:
    return Soon(loop=asyncio.get_running_loop())


async def test_callbacks_run_inside_set_result_in_order() -> None:
    future, told = soon(), []
    future.add_done_callback(lambda f: told.append(("a", f.result())))
    future.add_done_callback(lambda f: told.append(("b", f.result())))
    future.set_result(1)
    assert told == [("a", 1), ("b", 1)]


async def test_a_callback_that_comes_late_runs_in_the_next_turn() -> None:
    future, told = soon(), []
    future.set_result(1)
    future.add_done_callback(told.append)
    assert told == []
    await asyncio.sleep(0)
    assert told == [future]


async def test_it_can_be_awaited_waited_for_shielded_and_gathered() -> None:
    loop = asyncio.get_running_loop()
    for use in (
        lambda f: asyncio.wait_for(f, 1),
        asyncio.shield,
        asyncio.gather,
        lambda f: asyncio.wait([f]),
    ):
        future = soon()
        loop.call_soon(future.set_result, 5)
        await use(future)
        assert await future == 5


async def test_completing_it_inside_a_task_does_not_enter_another() -> None:
    future = soon()

    async def wait() -> int:
        return await future

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    future.set_result(3)
    assert await waiting == 3


async def test_a_callback_that_fails_is_reported_and_the_others_run() -> None:
    future, told, reported = soon(), [], []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(told.append)
    future.set_result(1)
    assert told == [future]
    assert isinstance(reported[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_a_cancel_or_an_exception_is_told_in_the_next_turn(how: str) -> None:
    future, told = soon(), []
    future.add_done_callback(told.append)
    if how == "cancel":
        assert future.cancel()
        assert not future.cancel()
    else:
        future.set_exception(OSError("no"))
    assert told == []
    await asyncio.sleep(0)
    assert told == [future]
    assert future.cancelled() == (how == "cancel")
    if how == "fail":
        assert isinstance(future.exception(), OSError)


async def test_a_removed_callback_is_not_called() -> None:
    future, told = soon(), []
    callback: Any = told.append
    future.add_done_callback(callback)
    assert future.remove_done_callback(callback) == 1
    future.set_result(1)
    assert told == []


async def test_cancelling_who_awaits_cancels_it_as_any_future() -> None:
    future = soon()

    async def wait() -> int:
        return await future

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.cancelled()
