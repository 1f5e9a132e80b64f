"""The example jobs: honest Monte Carlo, and the same answer on any fleet."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.target import Target
from controller.mapreduce.errors import RunFailed
from controller.mapreduce.progress import Progress, Report
from controller.mapreduce.run import run_job

Load = Callable[[str], dict[str, Any]]


# --- pi.py, as mathematics ----------------------------------------------------------


def test_cells_wholly_inside_and_outside_are_told_apart(load: Load) -> None:
    job = load("jobs/pi.py")
    rows, columns = job["ROWS"], job["COLUMNS"]
    for row in range(rows):
        for column in range(columns):
            near = (row / rows) ** 2 + (column / columns) ** 2
            far = ((row + 1) / rows) ** 2 + ((column + 1) / columns) ** 2
            assert (column < job["INSIDE"][row]) == (far <= 1)
            assert (column <= job["TOUCHED"][row]) == (near < 1)


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_a_batch_counts_what_a_plain_loop_counts(load: Load, count: int) -> None:
    job = load("jobs/pi.py")
    found = job["throw"](random.Random(count), count)  # noqa: S311
    again = random.Random(count)  # noqa: S311
    rows = again.randbytes(count)
    cells = again.getrandbits(8 * count) if count else 0
    plain = 0
    for row, column in zip(rows, cells.to_bytes(count, "little"), strict=True):
        y = column & 0x7F
        inside, touched = job["INSIDE"][row], job["TOUCHED"][row]
        if inside <= y <= touched:
            x_exact = (row + again.random()) / job["ROWS"]
            y_exact = (y + again.random()) / job["COLUMNS"]
            plain += x_exact**2 + y_exact**2 < 1
        else:
            plain += y < inside
    assert found == plain


def test_pi_is_within_what_chance_allows(load: Load) -> None:
    job = load("jobs/pi.py")
    job["config"].update(points=4_000_000, chunks=7)
    results = [job["action"](job["args_for_action"](n)) for n in range(7)]
    reduced = job["reduce"](results)
    assert reduced["points"] == 4_000_000
    assert reduced["error"] == abs(reduced["pi"] - math.pi)
    assert reduced["error"] < 4 * reduced["stderr"]
    expected = 4 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / 4_000_000)
    assert reduced["stderr"] == pytest.approx(expected, rel=0.01)


def test_each_chunk_has_points_of_its_own_and_the_same_each_time(load: Load) -> None:
    job = load("jobs/pi.py")
    job["config"].update(points=1_000_000, chunks=10)
    arguments = [job["args_for_action"](n) for n in range(10)]
    first = [job["action"](each)["inside"] for each in arguments]
    assert len(set(first)) > 5
    assert [job["action"](each)["inside"] for each in arguments] == first


# --- both jobs, on real agents ------------------------------------------------------


@pytest.fixture
def targets(agent_factory: Callable[..., Any]) -> list[Target]:
    agents = [agent_factory() for _ in range(2)]
    return [
        Target(agent.url, agent.key, name=f"node{number}")
        for number, agent in enumerate(agents, 1)
    ]


async def compute(job: Path, targets: list[Target], **settings: str) -> Report:
    return await run_job(job, targets, settings=settings)


@pytest.mark.parametrize(
    ("name", "chunks"),
    [("pi.py", "chunks"), pytest.param("pi.js", "numActions", marks=pytest.mark.node)],
)
async def test_pi_on_two_agents(
    examples: Path, targets: list[Target], name: str, chunks: str
) -> None:
    settings = {"points": "2e6", chunks: "12"}
    report = await compute(examples / "jobs" / name, targets, **settings)
    assert report.chunks == sum(node.chunks for node in report.nodes) == 12
    assert report.result["points"] == 2_000_000
    assert report.result["error"] < 5 * report.result["stderr"]
    alone = await compute(examples / "jobs" / name, targets[:1], **settings)
    assert alone.result == report.result


@pytest.mark.slow
async def test_pi_is_the_same_when_an_agent_is_killed_on_the_way(
    examples: Path, agent_factory: Callable[..., Any]
) -> None:
    agents = [agent_factory() for _ in range(3)]
    targets = [Target(a.url, a.key, name=f"node{n}") for n, a in enumerate(agents, 1)]
    settings = {"points": "2e8", "chunks": "100"}
    killing: list[asyncio.Future[None]] = []

    def kill_at_a_third(progress: Progress) -> None:
        if progress.completed >= 33 and not killing:
            loop = asyncio.get_running_loop()
            killing.append(loop.run_in_executor(None, agents[0].kill))

    report = await run_job(
        examples / "jobs/pi.py",
        targets,
        settings=settings,
        on_progress=kill_at_a_third,
    )
    await killing[0]
    assert sum(node.chunks for node in report.nodes) == 100
    assert report.nodes[0].failures > 0
    left = await compute(examples / "jobs/pi.py", targets[1:], **settings)
    assert left.result == report.result


async def test_limits_above_what_nodes_allow_are_told(
    examples: Path, targets: list[Target]
) -> None:
    with pytest.raises(
        RunFailed, match=r"no node takes the job: node1, node2: .*512 MB"
    ):
        await compute(examples / "jobs/pi.py", targets, **{"limits.memory": "9999"})
