"""How much the load tests can ask for, and how punctually: against a host that is fake.

The fake answers at once and runs on the other core, so what is measured is Locust with
our scenarios: the most calls per second of one process, and at half of what is aimed at
how late calls of the open loop leave.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from controller.bench.load import BenchError
from controller.bench.row import Row
from controller.bench.server import Cores, started
from controller.fleet.target import Target
from controller.loadtest.errors import LoadtestError
from controller.loadtest.locust_run import stay
from controller.loadtest.plan import Point
from controller.loadtest.samples import Sample
from controller.loadtest.summary import Summary, summarize

AIM_PER_S = 2000.0
SECONDS = 8.0
CLIENTS = 16
KEY = "11111111-2222-3333-4444-555555555555:fake"


def generator(cores: Cores) -> list[Row]:
    command = [sys.executable, "-m", "controller.loadtest.fake", "--service-ms", "0"]
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        log = Path(folder) / "fake.log"
        with started(command, cores=cores.served, log=log) as facts:
            target = Target(facts["url"], KEY)
            most = _stay(target, _closed())
            half = _stay(target, _open())
    return [
        Row(
            name="generator_rate",
            what="load tests: calls/s of one Locust process, 1 KB, 16 clients",
            value=most.rate_per_s.value,
            unit="calls/s",
            sign=">=",
            aim=AIM_PER_S,
            detail={"p50_ms": round(most.latency["p50_ms"].value, 3)},
        ),
        Row(
            name="generator_late",
            what=f"load tests: open loop at {AIM_PER_S / 2:g}/s, sent late: p99",
            value=half.late_p99_ms,
            unit="ms",
            sign="<=",
            aim=2.0,
            detail={"calls": half.requests, "rate_per_s": half.rate_per_s.document()},
        ),
    ]


def _closed() -> Point:
    return Point("payload", "PayloadUser", CLIENTS, SECONDS, options=_ONE_KB)


def _open() -> Point:
    rate = AIM_PER_S / 2
    return Point("payload", "PayloadUser", 1, SECONDS, options=_ONE_KB, rate=rate)


_ONE_KB = ("--payload-bytes", "1024")


def _stay(target: Target, point: Point) -> Summary:
    try:
        samples: list[Sample] = stay(point, target).samples
    except LoadtestError as error:
        raise BenchError(str(error)) from error
    return summarize(point.label, [samples], open_loop=point.rate is not None)
