"""The shim that slows and logs fsync, around a real SQLite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.bench.accepting import COMPILERS, shim

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)),
    reason="needs a C compiler (apt-get install gcc)",
)

COMMITS = 5
PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE t (x)")
for n in range(int(sys.argv[2])):
    connection.execute("INSERT INTO t VALUES (?)", (n,))
"""


def test_every_fsync_is_slowed_and_logged(tmp_path: Path) -> None:
    log, database = tmp_path / "fsyncs.log", tmp_path / "t.db"
    begun = time.monotonic_ns()
    with shim() as library:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "EW_FSYNC_DELAY_MS": "10",
            "EW_FSYNC_LOG": str(log),
        }
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(database), str(COMMITS)],
            env=environment,
            check=True,
        )
    lines = [line.split(" ", 5) for line in log.read_text().splitlines()]
    of_the_log = [line for line in lines if line[5] == f"{database}-wal"]
    assert len(of_the_log) >= COMMITS
    for start, end, _, call, result, _ in lines:
        assert begun < int(start) < int(end) < time.monotonic_ns()
        assert int(end) - int(start) >= 10_000_000
        assert call in {"fsync", "fdatasync"}
        assert result == "0"


def test_without_settings_it_does_nothing(tmp_path: Path) -> None:
    with shim() as library:
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "t.db"), "1"]
        subprocess.run(arguments, env=environment, check=True)
    assert [path.suffix for path in tmp_path.iterdir()] == [".db"]
