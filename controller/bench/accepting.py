"""What accepted work costs: until its records can be read, and on a slow disk."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from controller.bench.actions import HELLO, HELLO_BODY, SLEEP, SLEEP_BODY
from controller.bench.load import BenchError, Request, drive
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, wait_until

JOBS = 5000
JOB_CONNECTIONS = 32
JOBS_TIMEOUT_S = 120.0
CONNECTIONS = 256
ACCEPT_S = 1.0
ROUNDS = 5
SLOW_FSYNC_MS = 10
COMPILERS = ("cc", "gcc", "clang")
#: One sandbox, so that running takes little from accepting.
ONE_SLOT = "[pool]\nmemory_mb = 256\n"


def jobs(cores: Cores) -> list[Row]:
    with agent(cores=cores.served) as node:
        node.put("hello", HELLO)
        drive(
            node.invoke("hello", HELLO_BODY, query="blocking=true"),
            connections=1,
            count=8,
        )
        begun = time.perf_counter()
        request = node.invoke("hello", HELLO_BODY, query="blocking=false")
        accepted = drive(request, connections=JOB_CONNECTIONS, count=JOBS, keep=True)
        took_s = time.perf_counter() - begun
        wait_until(
            lambda: _records(node) >= JOBS + 8, timeout_s=JOBS_TIMEOUT_S, pause_s=0.05
        )
        spent = time.perf_counter() - begun
        _check(node, accepted.bodies)
    return [
        Row(
            name="jobs",
            what=f"{JOBS:,} non-blocking invocations accepted, all records readable",
            value=spent,
            unit="s",
            sign="<=",
            aim=3.0,
            detail={"accepted_after_s": round(took_s, 3)},
        )
    ]


def _records(node: Agent) -> int:
    return int(node.call("GET", "/activations?count=true&name=hello")["activations"])


def _check(node: Agent, bodies: list[bytes]) -> None:
    """Every accepted id has its own record; this is not in the time."""
    ids = {json.loads(body)["activationId"] for body in bodies}
    if len(ids) != JOBS:
        raise BenchError(f"{JOBS} accepted, but {len(ids)} different ids")
    for activation in sorted(ids)[:: JOBS // 100]:
        record = node.call("GET", f"/activations/{activation}")
        if record["response"]["status"] != "success":
            raise BenchError(f"{activation}: {record['response']}")


def durable(cores: Cores) -> list[Row]:
    """Accepts by turns on this machine's disk and on one that takes 10 ms longer."""
    with (
        shim() as library,
        _shimmed(library, cores, 0) as plain,
        _shimmed(library, cores, SLOW_FSYNC_MS) as slow,
    ):
        rates = [(_accepts(slow), _accepts(plain)) for _ in range(ROUNDS + 1)][1:]
    return [
        Row(
            name="durable",
            what=f"durable accepts/s at {CONNECTIONS} connections, "
            f"{SLOW_FSYNC_MS} ms added to every fsync",
            value=median_ratio(rates),
            unit="of the rate without",
            sign=">=",
            aim=0.5,
            detail={
                "slow_per_s": rounded([rate for rate, _ in rates], 0),
                "plain_per_s": rounded([rate for _, rate in rates], 0),
            },
        )
    ]


@contextlib.contextmanager
def _shimmed(library: Path, cores: Cores, delay_ms: int) -> Iterator[Request]:
    environment = {"LD_PRELOAD": str(library), "EW_FSYNC_DELAY_MS": str(delay_ms)}
    with agent(cores=cores.served, settings=ONE_SLOT, environment=environment) as node:
        node.put("sleep", SLEEP)
        yield node.invoke("sleep", SLEEP_BODY, query="blocking=false")


def _accepts(request: Request) -> float:
    return drive(request, connections=CONNECTIONS, seconds=ACCEPT_S).rate_per_s


@contextlib.contextmanager
def shim() -> Iterator[Path]:
    """`fsync_shim.c`, compiled here: the path of the library."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise BenchError("slow disks are imitated with a C compiler, and there is none")
    source = files("controller.bench") / "fsync_shim.c"
    with tempfile.TemporaryDirectory(prefix="edgewhisk-shim-") as folder:
        library = Path(folder) / "fsync_shim.so"
        with as_file(source) as path:
            command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library)]
            command += [str(path), "-ldl", "-pthread"]
            subprocess.run(command, check=True)
        yield library
