from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from edge_agent.telemetry.descendants import usage

SPAWN = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'while True: pass']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


def test_what_works_below_a_process_is_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SPAWN], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        try:
            deadline = time.monotonic() + 10
            while (found := usage(os.getpid())) is None or found["cpu_s"] < 0.1:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert found["processes"] >= 2
            assert found["rss_bytes"] > 1_000_000
        finally:
            os.kill(grandchild, 9)
            parent.kill()


def test_a_process_that_is_gone_has_none() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert usage(gone.pid) is None


def test_a_kernel_that_does_not_list_children_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "7/task/7").mkdir(parents=True)
    assert usage(7, tmp_path) is None
