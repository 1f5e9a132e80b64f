"""What `/edge/v1/node` and `/edge/v1/load` tell: a probe of every room. For `app`."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.engine.engine import Engine
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.drivers import Drivers
from edge_agent.settings import Settings
from edge_agent.store.store import Store
from edge_agent.telemetry.descendants import usage
from edge_agent.telemetry.health import Health, Probe
from edge_agent.telemetry.node_metrics import PoolCounts
from edge_agent.telemetry.sensors import cpu_s


def load_report(pool: Pool, engine: Engine) -> dict[str, Any]:
    view = pool.view()
    return {
        "slots": view.slots,
        "free_slots": pool.free_slots(),
        "running": view.active,
        "queue": view.queued,
        "inbox": engine.waiting,
        "cpu_s": cpu_s(),
        "cores": os.cpu_count(),
    }


def make_health(
    settings: Settings,
    store: Store,
    factory: Drivers,
    pool: Pool,
    sources: Mapping[str, Probe],
) -> Health:
    started = time.monotonic()
    health = Health(
        {
            "name": settings.node or platform.node(),
            "version": __version__,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "kinds": list(factory.kinds),
            "kinds_missing": list(factory.process.runtimes.findings),
            "engine": factory.engine,
            "isolation": {
                "level": factory.level,
                "findings": [
                    str(finding) for finding in factory.process.probe.findings
                ],
            },
        }
    )
    health.register("now_ms", lambda: time.time_ns() // 1_000_000)
    health.register("uptime_s", lambda: round(time.monotonic() - started, 1))
    health.register("rss_bytes", _rss_bytes)
    health.register("cpu_s", _cpu_s)
    health.register("sandboxes", lambda: usage(os.getpid()))
    health.register("pool", lambda: _pool_report(pool))
    health.register("store", lambda: _store_report(store))
    for name, probe in sources.items():
        health.register(name, probe)
    return health


def _pool_report(pool: Pool) -> dict[str, Any]:
    view = pool.view()
    return {
        "slots": view.slots,
        "memory_mb": view.memory_mb,
        "used_mb": view.used_mb,
        "running": view.active,
        "queued": view.queued,
        "sandboxes": {str(state): n for state, n in view.states.items()},
    }


def _store_report(store: Store) -> dict[str, Any]:
    return {
        "inbox": store.inbox.depth,
        "inbox_bytes": store.inbox.size_bytes,
        "pending_bytes": store.writer.pending_bytes,
        "commits": store.writer.commits,
        "failure": store.writer.failure,
        "dead_letters": {
            "count": store.dead_letters.count,
            "bytes": store.dead_letters.size_bytes,
            "full": store.dead_letters.full,
            "dropped": store.dead_letters.dropped,
        },
        "dedup": {
            "keys": len(store.dedup),
            "repeated": store.dedup.repeated,
            "forgotten": store.dedup.forgotten,
        },
    }


def _rss_bytes() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s() -> float:
    """Of the agent itself, its sandboxes not counted."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round(used.ru_utime + used.ru_stime, 2)


def pool_counts(pool: Pool) -> PoolCounts:
    """The pool for upstream's series."""
    view, figures = pool.view(), pool.figures()
    prewarm = figures.prewarm
    return PoolCounts(
        containers=figures.containers,
        prewarm={"prewarmColdstart": prewarm.cold, "prewarmExpired": prewarm.unused},
        in_flight=view.active + view.queued,
        in_flight_mb=figures.in_flight_mb,
    )
