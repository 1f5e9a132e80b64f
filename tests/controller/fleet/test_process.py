"""Processes that outlive us: found again, stopped, and never mixed up."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from controller.fleet.process import Process, birth, ended, spawn, stop

OBEYS = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)"
)


def start(tmp_path: Path, code: str) -> Process:
    return spawn(
        [sys.executable, "-c", code],
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        environ=os.environ,
    )


def test_a_process_is_stopped_and_leaves_no_zombie(tmp_path: Path) -> None:
    process = start(tmp_path, OBEYS)
    assert process.alive
    stop([process], timeout_s=5)
    assert ended(process)
    assert not Path(f"/proc/{process.pid}").exists()


def test_one_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN)
    while "ready" not in (tmp_path / "out").read_text():
        time.sleep(0.01)
    stop([process], timeout_s=0.2)
    assert ended(process)


def test_the_children_left_in_its_session_go_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-c', {OBEYS!r}]);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    process = start(tmp_path, code)
    while not (text := (tmp_path / "out").read_text()).endswith("\n"):
        time.sleep(0.01)
    stop([process], timeout_s=5)
    deadline = time.monotonic() + 5
    while birth(int(text)) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert birth(int(text)) is None


def test_another_process_under_the_same_id_is_left_alone(tmp_path: Path) -> None:
    innocent = start(tmp_path, OBEYS)
    stop([Process(innocent.pid, "another moment")], timeout_s=0.2)
    assert innocent.alive
    stop([innocent], timeout_s=5)


def test_an_id_that_nobody_has_is_over() -> None:
    assert ended(Process(2**22 - 3, "ever"))
    assert birth(2**22 - 3) is None


def test_its_error_output_is_kept_from_one_start_to_the_next(tmp_path: Path) -> None:
    for word in ("one", "two"):
        process = start(tmp_path, f"import sys; sys.stderr.write('{word} ')")
        while not ended(process):
            time.sleep(0.01)
    assert (tmp_path / "err").read_text() == "one two "
