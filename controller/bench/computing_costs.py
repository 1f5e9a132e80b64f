"""Map-reduce: how soon all slots work, and what scheduling costs the controller."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from controller.bench.computing import SLOT_MB, fleet, run
from controller.bench.row import Row
from controller.bench.server import Agent, Cores, agent, on_cores
from controller.fleet.target import Target
from controller.mapreduce.job_file import load_job
from controller.mapreduce.journal import RESULTS, entry_lines
from controller.mapreduce.plan import plan
from controller.mapreduce.policy import Schedule
from controller.mapreduce.run import run_planned
from controller.mapreduce.simulated import Machine, simulate

PLAIN_POINTS = 100_000_000
SLOTS = 4
ADDED_AFTER_S = 2.0
SIMULATED_NODES, SIMULATED_CHUNKS = 1000, 60_000
MANY_CHUNKS = 100_000
PLAIN_JOB = """
import random
config = {"chunks": 100, "points": 100_000_000, "items": "points"}
def args_for_action(index):
    return {"points": config["points"] // config["chunks"], "seed": index}
def action(params):
    draw = random.Random(params["seed"]).random
    inside = 0
    for _ in range(params["points"]):
        x, y = draw(), draw()
        inside += x * x + y * y < 1
    return {"inside": inside, "points": params["points"]}
def reduce(results):
    return 4 * sum(r["inside"] for r in results) / sum(r["points"] for r in results)
"""
WAITING_JOB = """
import time
config = {"chunks": 200, "limits": {"memory": 128}}
def action(params):
    time.sleep(0.5)
    return params
def reduce(results): return len(results)
"""
#: Peak memory of a process that maps so many chunks over nodes in memory.
MANY_JOB = """
import asyncio, resource, sys
from pathlib import Path
from controller.mapreduce.fake import FakeNode
from controller.mapreduce.job_file import load_job
from controller.mapreduce.plan import plan
from controller.mapreduce.run import execute
folder = Path(sys.argv[1])
(folder / "job.py").write_text('''
config = {"chunks": %d}
def action(params): return {"n": params["index"], "text": "x" * 100}
def reduce(results): return sum(result["n"] for result in results)
''')
job = load_job(folder / "job.py", settings={})
run = plan(job, settings={}, out=folder / "out")
nodes = [FakeNode(f"node{n}", capacity=16) for n in range(8)]
report = asyncio.run(execute(run, nodes))
assert report.chunks == %d
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def plain_pi(cores: Cores) -> list[Row]:
    """A loop over `random()`, as a user would write it first."""
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        job = Path(folder) / "plain.py"
        job.write_text(PLAIN_JOB)
        slots = len(cores.all)
        with on_cores(cores.all), fleet(1, cores.all, slots=slots) as agents:
            ran = run(job, agents, points=PLAIN_POINTS)
    return [
        Row(
            name="mapreduce_plain_pi",
            what="pi by a plain Python loop, 1e8 points",
            value=ran.seconds,
            unit="s",
            sign="<=",
            aim=30.0,
            detail={"pi": ran.result},
        )
    ]


def ramp(cores: Cores) -> list[Row]:
    """From no warm sandbox, and from a node added on the way, to all slots working."""
    settings = f"[pool]\nmemory_mb = {SLOTS * SLOT_MB}\n"
    with (
        tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder,
        ExitStack() as stack,
        on_cores(cores.all),
    ):
        job = Path(folder) / "waiting.py"
        job.write_text(WAITING_JOB)
        started = [
            stack.enter_context(agent(cores=cores.all, settings=settings))
            for _ in range(2)
        ]
        full_s = _full_s(job, started, Path(folder) / "out")
    worst = max(full_s["node1"], full_s["node2"] - ADDED_AFTER_S)
    return [
        Row(
            name="mapreduce_ramp",
            what="from cold, or from a node added, to all slots working",
            value=worst,
            unit="s",
            sign="<=",
            aim=5.0,
            detail={
                "cold_s": round(full_s["node1"], 3),
                "added_s": round(full_s["node2"] - ADDED_AFTER_S, 3),
            },
        )
    ]


def _full_s(job: Path, agents: list[Agent], out: Path) -> dict[str, float]:
    """When as many chunks as a node has slots had begun, for each node."""
    targets = [
        Target(node.url, node.key, name=f"node{number}")
        for number, node in enumerate(agents, 1)
    ]
    began = time.monotonic()

    def found() -> list[Target]:
        late = time.monotonic() - began > ADDED_AFTER_S
        return targets if late else targets[:1]

    loaded = load_job(job, settings={})
    run_ = plan(loaded, settings={}, out=out)
    asyncio.run(run_planned(run_, targets[:1], find_targets=found))
    begins: dict[str, list[float]] = {}
    for entry, _ in entry_lines(out / RESULTS):
        begins.setdefault(entry.node, []).append(entry.until - entry.seconds)
    return {node: sorted(times)[SLOTS - 1] for node, times in begins.items()}


def many_chunks(_cores: Cores) -> list[Row]:
    program = MANY_JOB % (MANY_CHUNKS, MANY_CHUNKS)
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-c", program, folder],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
    return [
        Row(
            name="mapreduce_memory",
            what=f"the controller's memory at its peak, {MANY_CHUNKS} chunks",
            value=float(done.stdout.split()[-1]),
            unit="MB",
            sign="<=",
            aim=200.0,
        )
    ]


def simulated(_cores: Cores) -> list[Row]:
    """A thousand nodes of all speeds; the cost is that of the simulation as well."""
    chance = random.Random(7)  # noqa: S311
    machines = {
        f"node{n}": Machine(chance.uniform(0.5, 2), slots=2)
        for n in range(SIMULATED_NODES)
    }
    began = time.process_time()
    makespan, _ = simulate(Schedule(SIMULATED_CHUNKS), machines)
    spent_us = (time.process_time() - began) / SIMULATED_CHUNKS * 1e6
    ideal = SIMULATED_CHUNKS / sum(m.slots / m.seconds for m in machines.values())
    return [
        Row(
            name="mapreduce_scheduling",
            what=f"{SIMULATED_NODES} simulated nodes: scheduling a chunk",
            value=spent_us,
            unit="us",
            sign="<=",
            aim=50.0,
        ),
        Row(
            name="mapreduce_makespan",
            what=f"{SIMULATED_NODES} simulated nodes: makespan",
            value=makespan / ideal,
            unit="x ideal",
            sign="<=",
            aim=1.05,
        ),
    ]
