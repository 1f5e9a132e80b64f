"""Jobs written to disk, and nodes in memory that run them for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.target import Target
from controller.mapreduce.fake import FakeNode, work_of
from controller.mapreduce.job import Job
from controller.mapreduce.job_file import load_job
from controller.mapreduce.patience import Patience
from controller.mapreduce.plan import Run, plan

SQUARES = """
config = {"chunks": 20, "offset": 0, "items": "seen"}

def args_for_action(index):
    return {"number": index + config["offset"]}

def action(params):
    return {"square": params["number"] ** 2, "seen": 10}

def reduce(results):
    return {"squares": [result["square"] for result in results]}
"""

#: Quick enough for a test, slow enough for a busy machine.
HASTE = Patience(
    look_s=0.05,
    answer_s=0.5,
    looks=2,
    try_first_s=0.02,
    try_most_s=0.1,
    first_node_s=0.5,
    no_node_s=1.0,
    refused_s=1.0,
    progress_s=0.02,
)

WriteJob = Callable[[str], Path]
FleetOf = Callable[..., list[FakeNode]]


@pytest.fixture
def write_job(tmp_path: Path) -> WriteJob:
    def write(source: str, name: str = "job.py") -> Path:
        path = tmp_path / name
        path.write_text(source)
        return path

    return write


@pytest.fixture
def squares(write_job: WriteJob) -> Job:
    return load_job(write_job(SQUARES), settings={})


@pytest.fixture
def fleet(squares: Job) -> FleetOf:
    """Nodes that run the squares."""

    def make(count: int, **traits: Any) -> list[FakeNode]:
        work = work_of(squares.actions[""])
        return [FakeNode(f"node{n + 1}", work, **traits) for n in range(count)]

    return make


@pytest.fixture
def run(squares: Job, tmp_path: Path) -> Run:
    return plan(squares, settings={}, out=tmp_path / "run")


@pytest.fixture(scope="module")
def targets(shared_agent_factory: Callable[..., Any]) -> list[Target]:
    """Two real agents that the tests of a module share."""
    agents = [shared_agent_factory() for _ in range(2)]
    return [
        Target(agent.url, agent.key, name=f"node{number}")
        for number, agent in enumerate(agents, 1)
    ]


@pytest.fixture
def haste() -> Patience:
    return HASTE
