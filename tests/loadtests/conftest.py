"""Locust as its users run it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent.parent / "loadtests"
RUN_TIMEOUT_S = 45.0
#: What a shell starts in the background ignores SIGINT, and so would Locust.
HEAR_INTERRUPTS = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Ran:
    code: int
    output: str
    stats: list[dict[str, Any]]
    errors: str

    @property
    def requests(self) -> dict[str, int]:
        return {entry["name"]: entry["num_requests"] for entry in self.stats}

    @property
    def failures(self) -> int:
        return sum(entry["num_failures"] for entry in self.stats)


Locust = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def locust(tmp_path: Path) -> Iterator[Locust]:
    """Start Locust: `locust("PayloadUser", host=..., auth=..., folder=...)`."""
    started: list[subprocess.Popen[str]] = []
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENWHISK_", "WSK_", "EDGEWHISK_", "LOCUST_"))
    }
    environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share")}

    def start(
        *arguments: str,
        host: str = "",
        auth: str = "",
        folder: Path = FOLDER,
        **variables: str,
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HEAR_INTERRUPTS, sys.executable]
        command += ["-m", "locust", "-f", str(folder), *arguments]
        command += ["--headless", "--only-summary"]
        command += ["--json-file", str(tmp_path / "stats")]
        command += ["--csv", str(tmp_path / "stats")]
        command += ["--host", host] if host else []
        command += ["--auth", auth] if auth else []
        process = subprocess.Popen(
            command,
            env={**environment, **variables},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ended(tmp_path: Path) -> Callable[[subprocess.Popen[str]], Ran]:
    def wait(process: subprocess.Popen[str]) -> Ran:
        output, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        file = tmp_path / "stats.json"
        stats = json.loads(file.read_text()) if file.exists() else []
        table = tmp_path / "stats_failures.csv"
        errors = table.read_text() if table.exists() else ""
        return Ran(process.returncode, output, stats, errors)

    return wait
