"""What starting costs: an agent, a new action, and the memory of an agent at rest."""

from __future__ import annotations

import os
import shutil
import statistics
import time

from controller.bench.actions import HELLO, HELLO_BODY
from controller.bench.invoking import BLOCKING
from controller.bench.load import BenchError, drive
from controller.bench.processes import family, pss_mb, rss_mb
from controller.bench.row import Row, rounded
from controller.bench.server import Agent, Cores, agent, connection, on_cores

COLD_STARTS = 25
AGENT_STARTS = 7
ACTIVATIONS = 1000
REST_S = 1.0
SYSTEM_PYTHON = "/usr/bin/python3"
POOL_MB = (COLD_STARTS + 5) * 256
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


def cold(cores: Cores) -> list[Row]:
    """A new action by turns with the least that a held Python can be."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise BenchError("cold starts are compared with bwrap, which is not installed")
    settings = f"[pool]\nmemory_mb = {POOL_MB}\n"
    held, fresh = [], []
    with agent(cores=cores.served, settings=settings) as node:
        for number in range(COLD_STARTS + 1):
            held.append(_held_python(bwrap, cores))
            fresh.append(_new_action(node, f"cold{number}"))
    held_ms, fresh_ms = statistics.median(held[1:]), statistics.median(fresh[1:])
    return [
        Row(
            name="cold_start",
            what="cold start of a new Python action: p50",
            value=fresh_ms / held_ms,
            unit="x bwrap python3 -I -S -c pass",
            sign="<=",
            aim=0.5,
            detail={
                "cold_ms": round(fresh_ms, 2),
                "cold_worst_ms": round(max(fresh[1:]), 2),
                "bwrap_ms": round(held_ms, 2),
            },
        )
    ]


def _held_python(bwrap: str, cores: Cores) -> float:
    command = [bwrap, *BWRAP, *PYTHON]
    with on_cores(cores.served):
        begun = time.perf_counter()
        pid = os.posix_spawn(bwrap, command, {})
        _, status = os.waitpid(pid, 0)
        spent = time.perf_counter() - begun
    if status:
        raise BenchError("bwrap does not work here: no cold starts to compare with")
    return spent * 1000


def _new_action(node: Agent, name: str) -> float:
    node.put(name, HELLO)
    request = node.invoke(name, HELLO_BODY, query=BLOCKING)
    return drive(request, connections=1, count=1).p50_ms


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
        )
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
