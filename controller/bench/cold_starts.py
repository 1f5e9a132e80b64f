"""What a new action costs: Python and Node.js, prewarmed, 200 at once, its memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from controller.bench.actions import HELLO, HELLO_BODY
from controller.bench.invoking import BLOCKING
from controller.bench.load import BenchError, Request, drive
from controller.bench.processes import family, pss_mb
from controller.bench.row import Row
from controller.bench.server import Agent, Cores, agent, on_cores

STARTS = 25
AT_ONCE = 200
RESTING = 20
REST_S = 1.0
SYSTEM_PYTHON, SYSTEM_NODE = "/usr/bin/python3", "/usr/bin/node"
POOL = "[pool]\nmemory_mb = {memory_mb}\n"
PREWARM = 'prewarm = {{"nodejs:default" = {count}}}\n'
BURST_TIMEOUT_S = 60.0
HEAD_BYTES = 1 << 16
#: What any sandbox of ours has: namespaces, a read-only system, its own /proc, /tmp.
BWRAP = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--hostname", "action", "--die-with-parent", "--new-session"),
    *("--cap-drop", "ALL", "--clearenv"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"),
    *("--tmpfs", "/tmp", "--tmpfs", "/action", "--remount-ro", "/"),  # noqa: S108
)
PYTHON = (SYSTEM_PYTHON, "-I", "-S", "-c", "pass")
NODE = (SYSTEM_NODE, "-e", "0")
HELLO_JS = "function main (args) { return { greeting: `Hello, ${args.name}` } }"
#: Half of what a burst runs: chance must be each one's own, and costs imports.
CHANCE = """\
import random
import uuid

def main(args):
    return {"random": random.random(), "uuid": str(uuid.uuid4())}
"""


def cold(cores: Cores) -> list[Row]:
    """New actions by turns with the least that a held interpreter can be."""
    return [
        *_compared(cores, "python:default", HELLO, PYTHON, aim=0.5),
        *_compared(cores, "nodejs:default", HELLO_JS, NODE, aim=1.3),
        _prewarmed(cores),
        _burst(cores),
    ]


def _compared(
    cores: Cores, kind: str, code: str, bare: Sequence[str], *, aim: float
) -> list[Row]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise BenchError("cold starts are compared with bwrap, which is not installed")
    held, fresh = [], []
    with agent(cores=cores.served, settings=_pool(STARTS + 5)) as node:
        for number in range(STARTS + 1):
            held.append(_held(bwrap, bare, cores))
            fresh.append(_new_action(node, f"cold{number}", kind, code))
    held_ms, fresh_ms = statistics.median(held[1:]), statistics.median(fresh[1:])
    language = "Python" if kind.startswith("python") else "Node.js"
    detail = {
        "cold_ms": round(fresh_ms, 2),
        "cold_worst_ms": round(max(fresh[1:]), 2),
        "bwrap_ms": round(held_ms, 2),
    }
    ratio = Row(
        name=f"cold_start_{language.lower().removesuffix('.js')}",
        what=f"cold start of a new {language} action: p50",
        value=fresh_ms / held_ms,
        unit=f"x bwrap {' '.join(bare).rpartition('/')[2]}",
        sign="<=",
        aim=aim,
        detail=detail,
    )
    if kind.startswith("nodejs"):
        return [ratio]
    return [
        ratio,
        Row(
            name="cold_start_ms",
            what="the same, in time",
            value=fresh_ms,
            unit="ms",
            sign="<=",
            aim=15.0,
        ),
    ]


def _pool(sandboxes: int) -> str:
    return POOL.format(memory_mb=sandboxes * 256)


def _held(bwrap: str, bare: Sequence[str], cores: Cores) -> float:
    command = [bwrap, *BWRAP, *bare]
    with on_cores(cores.served):
        begun = time.perf_counter()
        pid = os.posix_spawn(bwrap, command, {})
        _, status = os.waitpid(pid, 0)
        spent = time.perf_counter() - begun
    if status:
        raise BenchError(f"bwrap {bare[0]} does not work: nothing to compare with")
    return spent * 1000


def _new_action(node: Agent, name: str, kind: str, code: str) -> float:
    node.put(name, code, kind=kind)
    request = node.invoke(name, HELLO_BODY, query=BLOCKING)
    return drive(request, connections=1, count=1).p50_ms


def _prewarmed(cores: Cores) -> Row:
    """One at a time, each with a sandbox that has stood ready for a while."""
    settings = _pool(STARTS + 8) + PREWARM.format(count=2)
    spent = []
    with agent(cores=cores.served, settings=settings) as node:
        for number in range(STARTS + 1):
            time.sleep(REST_S / 4)
            spent.append(_new_action(node, f"n{number}", "nodejs:default", HELLO_JS))
    return Row(
        name="cold_start_node_prewarmed",
        what="first activation of a Node.js action, prewarmed: p50",
        value=statistics.median(spent[1:]),
        unit="ms",
        sign="<=",
        aim=5.0,
        detail={"worst_ms": round(max(spent[1:]), 2)},
    )


# 200 at once


def _burst(cores: Cores) -> Row:
    with agent(cores=cores.all, settings=_pool(AT_ONCE + 5)) as node:
        for number in range(AT_ONCE):
            node.put(f"b{number}", CHANCE if number % 2 else HELLO)
        requests = [
            node.invoke(f"b{number}", HELLO_BODY, query=BLOCKING)
            for number in range(AT_ONCE)
        ]
        spent = sorted(asyncio.run(_all_at_once(requests)))
    return Row(
        name="cold_burst",
        what=f"{AT_ONCE} new actions at once on {len(cores.all)} cores, over HTTP: p99",
        value=spent[AT_ONCE * 99 // 100],
        unit="s",
        sign="<=",
        aim=1.5,
        detail={
            "p50_s": round(statistics.median(spent), 3),
            "worst_s": round(spent[-1], 3),
            "failed": 0,
        },
    )


async def _all_at_once(requests: Sequence[Request]) -> list[float]:
    """Connections first, then a request on each; raises for one that fails."""
    parts = urlsplit(requests[0].url)
    opened = [
        await asyncio.open_connection(parts.hostname, parts.port) for _ in requests
    ]
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(BURST_TIMEOUT_S):
            for (_, writer), request in zip(opened, requests, strict=True):
                writer.write(request.wire())
            return await asyncio.gather(*(_answered(r, begun) for r, _ in opened))
    finally:
        for _, writer in opened:
            writer.close()


async def _answered(reader: asyncio.StreamReader, begun: float) -> float:
    status = await reader.readline()
    spent = time.perf_counter() - begun
    if b" 200 " not in status:
        said = await reader.read(HEAD_BYTES)
        raise BenchError(f"one of the burst failed: {status!r} {said[-300:]!r}")
    return spent


def resting(cores: Cores) -> Row:
    """The proportional memory of warm sandboxes that wait, launchers and reapers."""
    with agent(cores=cores.served, settings=_pool(RESTING + 5)) as node:
        before = _sandboxes_mb(node)
        for number in range(RESTING):
            _new_action(node, f"r{number}", "python:default", HELLO)
        time.sleep(REST_S)
        used = (_sandboxes_mb(node) - before) / RESTING
    return Row(
        name="sandbox_memory",
        what="an idle warm Python sandbox: proportional memory",
        value=used,
        unit="MB",
        sign="<=",
        aim=5.0,
        detail={"sandboxes": RESTING},
    )


def _sandboxes_mb(node: Agent) -> float:
    _, *others = family(node.pid)
    return sum(map(pss_mb, others))
