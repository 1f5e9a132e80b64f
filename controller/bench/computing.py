"""Map-reduce: what a fleet on this machine makes of its cores."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from controller.bench.load import BenchError
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, on_cores
from controller.fleet.target import Target
from controller.local_quota import QuotaError, quotas
from controller.mapreduce.examples import example
from controller.mapreduce.progress import Progress, Report
from controller.mapreduce.run import run_job

PI_POINTS, PI_CHUNKS, PI_ROUNDS = 200_000_000, 128, 3
TINY, TINY_NODES, TINY_ROUNDS = 5000, 3, 3
#: Of a core, to each of eight nodes: what is left is the controller's.
SHARE_OF_ALL = 0.75
NODES = (1, 2, 4, 8)
SPEED_POINTS = 200_000_000
UNEQUAL = (1, 2, 4)
UNEQUAL_POINTS = 150_000_000
KILLED_POINTS = 120_000_000
SLOT_MB = 128
TINY_JOB = """
config = {"chunks": 5000}
def action(params): return {"n": params["index"]}
def reduce(results): return sum(result["n"] for result in results)
"""
#: How long Ray takes for the same, in a process of its own.
RAY = """
import time, ray
ray.init(logging_level="ERROR", include_dashboard=False)
@ray.remote
def tiny(n): return {"n": n}
ray.get([tiny.remote(n) for n in range(100)])
began = time.perf_counter()
ray.get([tiny.remote(n) for n in range(5000)])
print(time.perf_counter() - began)
"""


@contextmanager
def fleet(
    count: int, cores: frozenset[int], *, slots: int, share: Sequence[float] = ()
) -> Iterator[list[Agent]]:
    """Agents of so many slots; `share`: of the processor, for each."""
    settings = f"[pool]\nmemory_mb = {slots * SLOT_MB}\n"
    with ExitStack() as stack:
        agents = [
            stack.enter_context(agent(cores=cores, settings=settings))
            for _ in range(count)
        ]
        try:
            for node, cpus in zip(agents, share, strict=False):
                stack.enter_context(quotas([node.pid], cpus))
        except QuotaError as error:
            raise BenchError(str(error)) from error
        yield agents


def run(job: Path, agents: Sequence[Agent], **settings: Any) -> Report:
    on_progress = settings.pop("on_progress", None)
    targets = [
        Target(node.url, node.key, name=f"node{number}")
        for number, node in enumerate(agents, 1)
    ]
    given = {name: str(value) for name, value in settings.items()}
    running = run_job(job, targets, settings=given, on_progress=on_progress)
    return asyncio.run(running)


def pi_against_multiprocessing(cores: Cores) -> list[Row]:
    """The same action, on the same cores, by turns."""
    job = example("jobs/pi.py")
    count = len(cores.all)
    pairs = []
    with on_cores(cores.all), fleet(2, cores.all, slots=count) as agents:
        for number in range(PI_ROUNDS + 1):
            alone_s = _by_processes(job, count)
            ours = run(job, agents, points=PI_POINTS, chunks=PI_CHUNKS)
            if number:
                pairs.append((alone_s, ours.seconds))
    return [
        Row(
            name="mapreduce_pi",
            what=f"pi on two agents against multiprocessing on {count} cores",
            value=median_ratio(pairs),
            unit="of its speed",
            sign=">=",
            aim=0.95,
            detail={
                "multiprocessing_s": rounded([alone for alone, _ in pairs]),
                "ours_s": rounded([ours for _, ours in pairs]),
            },
        )
    ]


def _by_processes(job: Path, count: int) -> float:
    made = _defined(job)
    made["config"].update(points=PI_POINTS, chunks=PI_CHUNKS)
    arguments = [made["args_for_action"](n) for n in range(PI_CHUNKS)]
    work = functools.partial(_work, job)
    with multiprocessing.get_context("fork").Pool(count) as pool:
        began = time.perf_counter()
        made["reduce"](pool.map(work, arguments, chunksize=1))
        return time.perf_counter() - began


def _work(job: Path, params: dict[str, Any]) -> Any:
    return _defined(job)["action"](params)


@functools.cache
def _defined(job: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "job"}
    exec(compile(job.read_text(), job, "exec"), names)  # noqa: S102 our own example
    return names


def tiny_actions(cores: Cores) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        job = Path(folder) / "tiny.py"
        job.write_text(TINY_JOB)
        with on_cores(cores.all):
            with fleet(TINY_NODES, cores.all, slots=4) as agents:
                taken = [run(job, agents).seconds for _ in range(TINY_ROUNDS + 1)][1:]
            ray_s = _ray_s()
    return [
        Row(
            name="mapreduce_tiny",
            what=f"{TINY} tiny actions on {TINY_NODES} agents",
            value=statistics.median(taken),
            unit="s",
            sign="<=",
            aim=3.0,
            detail={"seconds": rounded(taken), "ray_s": ray_s or "not installed"},
        )
    ]


def _ray_s() -> float | None:
    """By the Python that EW_RAY_PYTHON names, else by ours; None: it has no Ray."""
    python = os.environ.get("EW_RAY_PYTHON", sys.executable)
    done = subprocess.run(
        [python, "-c", RAY], capture_output=True, text=True, check=False, timeout=180
    )
    try:
        return round(float(done.stdout.split()[-1]), 3)
    except (IndexError, ValueError):
        return None


def speed_up(cores: Cores) -> list[Row]:
    job = example("jobs/pi.py")
    share = SHARE_OF_ALL * len(cores.all) / max(NODES)
    taken: dict[int, float] = {}
    for count in NODES:
        points = SPEED_POINTS * count // max(NODES)
        shares = [share] * count
        with (
            on_cores(cores.all),
            fleet(count, cores.all, slots=1, share=shares) as agents,
        ):
            run(job, agents, points=points // 10, chunks=4 * count)  # warm
            ran = run(job, agents, points=points, chunks=32 * count)
            taken[count] = ran.seconds * max(NODES) / count
    speeds = {count: taken[1] / seconds for count, seconds in taken.items()}
    most = max(NODES)
    return [
        Row(
            name="mapreduce_speed_up",
            what=f"speed-up on {most} nodes of {share:.2f} cores each",
            value=speeds[most] / most,
            unit="of the nodes",
            sign=">=",
            aim=0.9,
            detail={"times_as_fast": {n: round(s, 2) for n, s in speeds.items()}},
        )
    ]


def unequal_nodes(cores: Cores) -> list[Row]:
    """Speeds 1 : 2 : 4 by shares of the processor, each measured alone first."""
    job = example("jobs/pi.py")
    unit = SHARE_OF_ALL * len(cores.all) / sum(UNEQUAL)
    shares = [unit * speed for speed in UNEQUAL]
    with (
        on_cores(cores.all),
        fleet(len(UNEQUAL), cores.all, slots=1, share=shares) as agents,
    ):
        alone = [
            _speed(job, node, speed)
            for node, speed in zip(agents, UNEQUAL, strict=True)
        ]
        ran = run(job, agents, points=UNEQUAL_POINTS, chunks=128)
    ideal_s = UNEQUAL_POINTS / sum(alone)
    return [
        Row(
            name="mapreduce_unequal",
            what="pi on nodes of speeds 1 : 2 : 4: makespan",
            value=ran.seconds / ideal_s,
            unit="x ideal",
            sign="<=",
            aim=1.1,
            detail={
                "points_per_s_alone": rounded(alone, 0),
                "chunks": [node.chunks for node in ran.nodes],
                "seconds": round(ran.seconds, 3),
                "ideal_s": round(ideal_s, 3),
            },
        )
    ]


def _speed(job: Path, node: Agent, share: float) -> float:
    points = int(UNEQUAL_POINTS * share / sum(UNEQUAL) / 3)
    run(job, [node], points=points // 10, chunks=2)
    return points / run(job, [node], points=points, chunks=8).seconds


def node_killed(cores: Cores) -> list[Row]:
    """One of three nodes of equal shares dies at half time."""
    job = example("jobs/pi.py")
    share = SHARE_OF_ALL * len(cores.all) / 3
    settings = {"points": KILLED_POINTS, "chunks": 96}
    with on_cores(cores.all), fleet(3, cores.all, slots=1, share=[share] * 3) as agents:
        run(job, agents, points=KILLED_POINTS // 10, chunks=12)
        two = run(job, agents[1:], **settings)
        killing = _kill_at_half(agents[0])
        three = run(job, agents, on_progress=killing, **settings)
    return [
        Row(
            name="mapreduce_killed",
            what="one of three nodes killed at half time: makespan",
            value=three.seconds / two.seconds,
            unit="x that of two nodes",
            sign="<=",
            aim=1.25,
            detail={
                "two_s": round(two.seconds, 3),
                "killed_s": round(three.seconds, 3),
                "same_answer": three.result == two.result,
                "retries": three.retries,
            },
        )
    ]


def _kill_at_half(node: Agent) -> Callable[[Progress], None]:
    killed: list[bool] = []

    def look(progress: Progress) -> None:
        if not killed and progress.completed >= progress.chunks / 2:
            killed.append(True)
            os.kill(node.pid, 9)

    return look
