"""From an edge at a pin to the action that it runs, on gpiozero's mock pins."""

from __future__ import annotations

import statistics

from controller.bench.row import Row
from controller.bench.server import Agent, Cores, agent, wait_until

EDGES, WARM_UP = 200, 20
PAUSE_MS = 10
PIN = 17
SETTINGS = '[gpio]\npin_factory = "mock"\n'
#: How long after the edge the action runs; both read the wall clock of one machine.
LATE = """\
import time

def main(params):
    return {"late_ms": time.time() * 1000 - params["time"]}
"""


def gpio(cores: Cores) -> list[Row]:
    """Edges one at a time: committed to disk, then run in a warm sandbox."""
    with agent(cores=cores.served, settings=SETTINGS) as node:
        _wire(node)
        levels = [number % 2 for number in range(WARM_UP + EDGES)]
        edges = {"pin": PIN, "level": levels, "every_ms": PAUSE_MS}
        node.call("POST", "/actions/gpio/mock?blocking=true", edges)
        wait_until(lambda: _count(node) >= WARM_UP + EDGES, timeout_s=10)
        records = node.call("GET", "/activations?name=late&docs=true&limit=200")
    late_ms = sorted(one["response"]["result"]["late_ms"] for one in records[:EDGES])
    return [
        Row(
            name="gpio",
            what="GPIO edge (mock) to its action at work, durable: p50",
            value=statistics.median(late_ms),
            unit="ms",
            sign="<=",
            aim=2.0,
            detail={
                "edges": len(late_ms),
                "p99_ms": round(late_ms[int(len(late_ms) * 0.99)], 3),
                "most_ms": round(late_ms[-1], 3),
            },
        )
    ]


def _wire(node: Agent) -> None:
    node.put("late", LATE)
    node.call("PUT", "/triggers/edge", {})
    node.call("PUT", "/rules/edge-late", {"trigger": "/_/edge", "action": "/_/late"})
    bound = {"binding": {"namespace": "whisk.system", "name": "gpio"}}
    node.call("PUT", "/packages/gpio", bound)
    life = {
        "lifecycleEvent": "CREATE",
        "triggerName": "/_/edge",
        "authKey": node.key,
    }
    watch = {**life, "device": "digital", "pin": PIN, "pull_up": True}
    node.call("POST", "/actions/gpio/watch?blocking=true", watch)


def _count(node: Agent) -> int:
    return int(node.call("GET", "/activations?count=true&name=late")["activations"])
