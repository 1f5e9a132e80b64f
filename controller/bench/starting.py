"""What an agent costs: its start, and its memory and that of sandboxes at rest."""

from __future__ import annotations

import statistics
import time

from controller.bench.actions import HELLO, HELLO_BODY
from controller.bench.cold_starts import resting
from controller.bench.invoking import BLOCKING
from controller.bench.load import BenchError, drive
from controller.bench.processes import family, pss_mb, rss_mb
from controller.bench.row import Row, rounded
from controller.bench.server import Cores, agent, connection

AGENT_STARTS = 7
ACTIVATIONS = 1000
REST_S = 1.0


def memory(cores: Cores) -> list[Row]:
    with agent(cores=cores.served) as node:
        at_start = rss_mb(node.pid)
        node.put("hello", HELLO)
        request = node.invoke("hello", HELLO_BODY, query=BLOCKING)
        drive(request, connections=4, count=ACTIVATIONS)
        time.sleep(REST_S)
        used = rss_mb(node.pid)
        own, *sandboxes = family(node.pid)
        detail = {
            "at_start_mb": round(at_start, 1),
            "pss_mb": round(pss_mb(own), 1),
            "sandbox_processes": len(sandboxes),
            "sandboxes_pss_mb": round(sum(map(pss_mb, sandboxes)), 1),
        }
    return [
        Row(
            name="memory",
            what=f"idle agent after {ACTIVATIONS:,} activations: RSS",
            value=used,
            unit="MB",
            sign="<=",
            aim=64.0,
            detail=detail,
        ),
        resting(cores),
    ]


def start(cores: Cores) -> list[Row]:
    spent = [_first_answer(cores) for _ in range(AGENT_STARTS)]
    return [
        Row(
            name="start",
            what="agent start to first 200",
            value=statistics.median(spent),
            unit="s",
            sign="<=",
            aim=0.8,
            detail={"seconds": rounded(spent)},
        )
    ]


def _first_answer(cores: Cores) -> float:
    """With an empty data folder; its files are in the page cache."""
    begun = time.perf_counter()
    with agent(cores=cores.served) as node, connection(node.url) as http:
        http.request("GET", "/ping")
        answer = http.getresponse()
        spent = time.perf_counter() - begun
        if answer.status != 200:  # noqa: PLR2004
            raise BenchError(f"/ping: {answer.status}")
    return spent
