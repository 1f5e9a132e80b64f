"""The figures of a node: every one measured in this run, on this machine.

Rates and latencies are ratios against a bare echo server on the same core, asked by the
same generator on another, so they can be compared between machines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.bench.accepting import durable, jobs
from controller.bench.cold_starts import cold
from controller.bench.computing import (
    node_killed,
    pi_against_multiprocessing,
    speed_up,
    tiny_actions,
    unequal_nodes,
)
from controller.bench.computing_costs import many_chunks, plain_pi, ramp, simulated
from controller.bench.entities import entities
from controller.bench.fires import fires
from controller.bench.generator import generator
from controller.bench.invoking import payload, slots, warm
from controller.bench.isolation import containers, isolation
from controller.bench.load import BenchError
from controller.bench.messages import messages
from controller.bench.messages_durable import messages_durable
from controller.bench.pins import gpio
from controller.bench.row import Row
from controller.bench.sequences import sequences
from controller.bench.server import Cores, on_cores
from controller.bench.starting import memory, start
from controller.bench.web import web

Measurement = Callable[[Cores], list[Row]]
MEASUREMENTS: Mapping[str, Measurement] = {
    "warm": warm,
    "jobs": jobs,
    "cold": cold,
    "memory": memory,
    "slots": slots,
    "payload": payload,
    "sequences": sequences,
    "web": web,
    "fires": fires,
    "entities": entities,
    "start": start,
    "durable": durable,
    "messages": messages,
    "messages-durable": messages_durable,
    "gpio": gpio,
    "generator": generator,
    "isolation": isolation,
    "containers": containers,
    "mapreduce-pi": pi_against_multiprocessing,
    "mapreduce-tiny": tiny_actions,
    "mapreduce-speed-up": speed_up,
    "mapreduce-plain": plain_pi,
    "mapreduce-ramp": ramp,
    "mapreduce-unequal": unequal_nodes,
    "mapreduce-killed": node_killed,
    "mapreduce-memory": many_chunks,
    "mapreduce-scheduling": simulated,
}
#: Measured when they are named, and not with all others.
BY_NAME_ONLY = {"containers"}


@dataclass(frozen=True)
class Missing:
    """What could not be measured here, and why."""

    name: str
    reason: str


def measure(
    names: Sequence[str], *, say: Callable[[str], None]
) -> tuple[list[Row], list[Missing]]:
    """Measure one after another; what fails is listed and stops nothing."""
    rows: list[Row] = []
    missing: list[Missing] = []
    cores = Cores.divide()
    with on_cores(cores.asking):
        for name in names:
            say(name)
            try:
                rows += MEASUREMENTS[name](cores)
            except (BenchError, OSError) as error:
                missing.append(Missing(name, str(error)))
    return rows, missing
