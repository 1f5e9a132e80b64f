"""What isolation costs a warm call: full against none, a container against a process.

Processor time of the agent and its sandboxes, per call and in rounds by turns: what
else a machine does changes the time that a call takes, and hardly the work it is.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from controller.bench.actions import HELLO, HELLO_BODY
from controller.bench.invoking import BLOCKING
from controller.bench.load import BenchError, Measured, Request, drive
from controller.bench.processes import busy_ns
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, on_cores

ROUNDS, ROUND_S = 12, 1.0
#: Without bubblewrap on its path an agent has nothing but resource limits.
NO_BUBBLEWRAP = {"PATH": "/nowhere"}
ENGINE, IMAGE = "EDGEWHISK_BENCH_ENGINE", "EDGEWHISK_BENCH_IMAGE"


def isolation(cores: Cores) -> list[Row]:
    with ExitStack() as stack:
        held, plain = (
            stack.enter_context(
                agent(
                    cores=cores.served,
                    settings=f'[sandbox]\nminimum_level = "{level}"\n',
                    environment=environment,
                )
            )
            for level, environment in (("full", {}), ("rlimits", NO_BUBBLEWRAP))
        )
        pairs = _by_turns(_ready(held), _ready(plain))
    spent = [(full, none) for (full, _), (none, _) in pairs]
    return [
        Row(
            name="isolation",
            what="warm invoke at level full: processor time of agent and sandbox",
            value=median_ratio(spent),
            unit="x level rlimits",
            sign="<=",
            aim=1.05,
            detail={
                "full_us": rounded([full for full, _ in spent], 1),
                "rlimits_us": rounded([none for _, none in spent], 1),
            },
        )
    ]


def containers(cores: Cores) -> list[Row]:
    """Only when it is asked for: it needs an engine and the image of a Python runtime.

    Raises:
        BenchError: the environment names none.
    """
    engine, image = os.environ.get(ENGINE, "auto"), os.environ.get(IMAGE)
    if not image:
        raise BenchError(f"{IMAGE} names no image of a Python runtime ({ENGINE}: auto)")
    settings = f'[container]\nsocket = "{engine}"\nnetwork = "none"\n'
    with on_cores(cores.all), agent(cores=cores.all, settings=settings) as node:
        process = _ready(node)
        body = {"exec": {"kind": "blackbox", "image": image, "code": HELLO}}
        node.call("PUT", "/actions/contained", body)
        contained = node, node.invoke("contained", HELLO_BODY, query=BLOCKING)
        pairs = _by_turns(contained, process)
    medians = [(inside.p50_ms, beside.p50_ms) for (_, inside), (_, beside) in pairs]
    return [
        Row(
            name="containers",
            what="warm invoke in a container: p50",
            value=median_ratio(medians),
            unit="x in a process",
            sign="<=",
            aim=10.0,
            detail={
                "container_ms": rounded([ms for ms, _ in medians]),
                "process_ms": rounded([ms for _, ms in medians]),
            },
        )
    ]


def _ready(node: Agent) -> tuple[Agent, Request]:
    node.put("hello", HELLO)
    return node, node.invoke("hello", HELLO_BODY, query=BLOCKING)


Figures = tuple[float, Measured]


def _by_turns(
    first: tuple[Agent, Request], second: tuple[Agent, Request]
) -> list[tuple[Figures, Figures]]:
    """Microseconds per call, and the round; each is first in half of the pairs."""
    for _, request in (first, second):
        drive(request, connections=1, count=3)
    pairs = []
    for number in range(ROUNDS):
        if number % 2:
            one, two = _round(*first), _round(*second)
        else:
            two, one = _round(*second), _round(*first)
        pairs.append((one, two))
    return pairs


def _round(node: Agent, request: Request) -> Figures:
    before = busy_ns(node.pid)
    measured = drive(request, connections=1, seconds=ROUND_S)
    spent = busy_ns(node.pid) - before
    return spent / len(measured.latencies_ns) / 1000, measured
