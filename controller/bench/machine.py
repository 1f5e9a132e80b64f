"""Where something was measured: without it figures mean nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_agent import __version__

PACKAGES = ("aiohttp", "uvloop", "msgspec", "locust")
FSYNCS = 21


def describe() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "model": _model(),
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kernel": platform.release(),
        "system": _system(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "fsync_ms": round(fsync_ms(), 3),
        "versions": {
            "edgewhisk": __version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{name: _version(name) for name in PACKAGES},
        },
    }


def fsync_ms() -> float:
    """Appending 4 KB and waiting for the disk, where agents write: the median."""
    spent = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - begun)
    return statistics.median(spent) * 1000


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _model() -> str:
    """A Pi says what it is in the device tree, a PC in its list of processors."""
    tree = Path("/proc/device-tree/model")
    if tree.exists():
        return tree.read_text().rstrip("\0\n")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()
