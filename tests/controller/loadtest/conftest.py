"""A host with known faults, and `edgectl bench` as its users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.fleet.target import Target

KEY = "11111111-2222-3333-4444-555555555555:secret"


def target_of(url: str) -> Target:
    return Target(url, KEY)


Serve = Callable[..., str]
Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stand_in() -> Iterator[Serve]:
    """`stand_in("--fail", "0.1")` is the URL of one; see `controller.loadtest.fake`."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "controller.loadtest.fake", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["url"])

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """`bench("run", "latency", url=...)`, in an environment without other targets."""
    unset = ("OPENWHISK_", "WSK_", "EDGEWHISK_", "LOCUST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(unset)}
    environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share")}

    def call(
        *arguments: str, url: str = "", key: str = KEY
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "controller", "bench", *arguments]
        command += ["--target", url, "--auth", key] if url else []
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
            env=environment,
        )

    return call
