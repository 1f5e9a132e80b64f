"""Functions of this file, called on real agents."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, wait
from typing import Any

import joblib
import pytest

from controller.fleet.client import Client
from controller.fleet.target import Target
from controller.mapreduce import calling_node
from controller.mapreduce.calls import RemoteTraceback
from controller.mapreduce.errors import RunFailed
from controller.mapreduce.executor import FleetExecutor
from controller.mapreduce.functions import map_reduce
from controller.mapreduce.joblib_backend import register
from controller.mapreduce.patience import Patience

OFFSET = 1000


def shifted(number: int) -> int:
    """Needs a global of this file, which no node has."""
    return number + OFFSET


class Odd(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def even_only(number: int) -> int:
    if number % 2:
        raise Odd(number)
    return number


@pytest.fixture
def fleet(targets: list[Target]) -> Iterator[FleetExecutor]:
    with FleetExecutor(targets) as executor:
        yield executor


def test_functions_of_this_file_are_called_on_the_nodes(fleet: FleetExecutor) -> None:
    factor = 3
    assert fleet.submit(shifted, 7).result(10) == 1007
    assert (
        fleet.submit(lambda n, *, plus: factor * n + plus, 5, plus=1).result(10) == 16
    )
    assert list(fleet.map(shifted, range(20), chunksize=6)) == [
        *range(OFFSET, OFFSET + 20)
    ]
    assert list(fleet.map(pow, [2, 3], [5, 2])) == [32, 9]


def test_what_a_function_raises_is_raised_here_with_its_traceback(
    fleet: FleetExecutor,
) -> None:
    error = fleet.submit(even_only, 3).exception(10)
    assert isinstance(error, Odd)
    assert error.number == 3
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in even_only" in str(error.__cause__)
    with pytest.raises(Odd):
        list(fleet.map(even_only, [2, 4, 5, 6]))


def test_what_cannot_be_sent_is_told_at_once(fleet: FleetExecutor) -> None:
    with pytest.raises(ValueError, match=r"takes \d+ bytes, and 900000 are possible"):
        fleet.submit(len, b"x" * 1_000_000)


def test_a_call_that_waits_can_be_cancelled(fleet: FleetExecutor) -> None:
    futures = [fleet.submit(time.sleep, 0.1) for _ in range(300)]
    futures[0].result(10)
    assert futures[-1].cancel()
    fleet.shutdown(wait=True, cancel_futures=True)
    assert all(future.done() for future in futures)
    ended = [future for future in futures if not future.cancelled()]
    assert 0 < len(ended) < 300
    with pytest.raises(CancelledError):
        futures[-1].result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        fleet.submit(len, "")


@pytest.mark.blocks_loop("an executor has a thread and a loop of its own")
async def test_a_future_can_be_awaited(fleet: FleetExecutor) -> None:
    assert await asyncio.wrap_future(fleet.submit(shifted, 1)) == 1001


def test_joblib_runs_on_the_fleet(fleet: FleetExecutor) -> None:
    register(fleet)
    with joblib.parallel_config(backend="edgewhisk"):
        found = joblib.Parallel()(joblib.delayed(shifted)(n) for n in range(40))
        assert found == [*range(OFFSET, OFFSET + 40)]
        with pytest.raises(Odd):
            joblib.Parallel()(joblib.delayed(even_only)(n) for n in (2, 3))


def test_actions_are_taken_away_at_the_end(targets: list[Target]) -> None:
    async def left() -> list[str]:
        async with Client(targets[0]) as client:
            return [item.name for item in await client.list_actions()]

    with FleetExecutor(targets) as executor:
        executor.submit(shifted, 1).result(10)
        assert [name for name in asyncio.run(left()) if name.startswith("calls-")]
    assert not [name for name in asyncio.run(left()) if name.startswith("calls-")]


def test_a_fleet_that_is_not_there_breaks_the_executor(haste: Patience) -> None:
    nowhere = Target("http://127.0.0.1:1", "a:b", name="nowhere")
    with FleetExecutor([nowhere], patience=haste) as executor:
        future = executor.submit(shifted, 1)
        wait([future], 15)
        with pytest.raises(BrokenExecutor) as caught:
            future.result(0)
        assert isinstance(caught.value.__cause__, RunFailed)
        assert "no node can be reached" in str(caught.value.__cause__)
        with pytest.raises(BrokenExecutor):
            executor.submit(shifted, 1)


def test_a_node_with_another_python_takes_no_functions(
    targets: list[Target], haste: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling_node, "PYTHON", (2, 7))
    patience = dataclasses.replace(haste, first_node_s=5.0)
    with FleetExecutor(targets, patience=patience) as executor:
        error: Any = executor.submit(shifted, 1).exception(10)
    assert "functions from here need 2.7" in str(error.__cause__)


def test_items_are_mapped_in_groups_and_reduced_in_order(targets: list[Target]) -> None:
    def joined(values: Iterator[int]) -> list[int]:
        return list(values)

    found = map_reduce(shifted, range(500), joined, targets=targets)
    assert found == [*range(OFFSET, OFFSET + 500)]


def test_a_combine_runs_on_the_nodes(targets: list[Target]) -> None:
    seen: list[int] = []

    def total(values: Iterator[int]) -> int:
        seen.extend(values)
        return sum(seen)

    found = map_reduce(lambda n: n, range(5000), total, combine=sum, targets=targets)
    assert found == sum(range(5000))
    assert len(seen) < 5000


def test_a_function_that_fails_for_an_item_ends_the_map(targets: list[Target]) -> None:
    with pytest.raises(RunFailed, match=r"failed: application error: "):
        map_reduce(even_only, range(10), sum, targets=targets)
