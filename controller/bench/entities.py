"""What 10,000 stored actions cost: lists, the start of the agent, and its memory."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from controller.bench.actions import HELLO
from controller.bench.invoking import by_turns
from controller.bench.load import BenchError
from controller.bench.processes import rss_mb
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, headers, on_cores

ACTIONS = 10_000
LIST = 200
WRITERS = 16
STARTS = 5
ROUNDS = 5
OK = 200


def entities(cores: Cores) -> list[Row]:
    """Each is put by a request, as users do."""
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        data = Path(folder)
        with on_cores(cores.all), agent(cores=cores.all) as empty:
            empty_mb = rss_mb(empty.pid)
        with on_cores(cores.all), agent(cores=cores.all, data=data) as node:
            _put_all(node)
            listing = _listing(node)
        spent, full_mb = _starts(cores, data)
    return [listing, _start(spent), _memory(full_mb, empty_mb)]


def _put_all(node: Agent) -> None:
    wrong: list[int] = []
    threads = [
        threading.Thread(target=_put_some, args=(node, first, wrong))
        for first in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise BenchError(f"actions were refused with {wrong[0]}")


def _put_some(node: Agent, first: int, wrong: list[int]) -> None:
    http = HTTPConnection(urlsplit(node.url).netloc)
    body = msgspec.json.encode({"exec": {"kind": "python:default", "code": HELLO}})
    sent = headers(node.request(""))
    for number in range(first, ACTIONS, WRITERS):
        path = urlsplit(node.request(f"/actions/a{number}").url).path
        http.request("PUT", path, body, sent)
        answer = http.getresponse()
        answer.read()
        if answer.status != OK:
            wrong.append(answer.status)
            return
    http.close()


def _listing(node: Agent) -> Row:
    page = node.request(f"/actions?limit={LIST}", method="GET")
    one = node.request("/actions/a5000", method="GET")
    rounds = by_turns(page, one, rounds=ROUNDS)
    medians = [(many.p50_ms, single.p50_ms) for many, single in rounds]
    return Row(
        name="list",
        what=f"list of {LIST} of {ACTIONS:,} actions: p50",
        value=median_ratio(medians),
        unit="x a get",
        sign="<=",
        aim=10.0,
        detail={
            "list_ms": rounded([ms for ms, _ in medians]),
            "get_ms": rounded([ms for _, ms in medians]),
        },
    )


def _starts(cores: Cores, data: Path) -> tuple[list[float], float]:
    """Seconds to the line that says it serves, and what it holds then."""
    spent, held = [], []
    for _ in range(STARTS):
        begun = time.perf_counter()
        with agent(cores=cores.served, data=data) as node:
            spent.append(time.perf_counter() - begun)
            held.append(rss_mb(node.pid))
    return spent, statistics.median(held)


def _start(spent: list[float]) -> Row:
    return Row(
        name="start_full",
        what=f"agent start with {ACTIONS:,} actions",
        value=statistics.median(spent),
        unit="s",
        sign="<=",
        aim=2.0,
        detail={"seconds": rounded(spent)},
    )


def _memory(full_mb: float, empty_mb: float) -> Row:
    return Row(
        name="memory_full",
        what=f"agent with {ACTIONS:,} actions, just started: RSS",
        value=full_mb / empty_mb,
        unit="x an empty one's",
        sign="<=",
        aim=1.5,
        detail={"full_mb": round(full_mb, 1), "empty_mb": round(empty_mb, 1)},
    )
