"""The demo, whole and small, interrupted, and its measuring alone."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from controller.demo_replay import Measured, percentile, read_readings
from controller.demo_report import ReplayReport
from controller.fleet.local_state import read_state
from controller.local import LocalFleet
from controller.mapreduce.examples import example

DEMO = [sys.executable, "-m", "controller", "demo"]


def processes_of(directory: Path) -> list[str]:
    """What still runs with this folder on its command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(directory) in word for word in words) and file.parent.name != str(
            os.getpid()
        ):
            found.append(" ".join(words))
    return found


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_the_demo_loses_nothing_and_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [*DEMO, "--fast", "--points", "1e6", "--dir", str(directory), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    hourly, daily = report["replays"]
    for replay in (hourly, daily):
        assert replay["messages"] == replay["results"] == replay["activations"] == 200
        assert replay["lost"] == 0
        assert 0 < replay["p50_ms"] <= replay["p99_ms"]
    assert set(hourly["by_node"]) == {"node1"}
    assert all(count > 0 for count in daily["by_node"].values())
    assert len(daily["by_node"]) == 3
    assert abs(report["pi"]["result"]["pi"] - math.pi) < 0.02
    assert report["logs"] == str(directory)
    assert str(directory) in told.stderr
    assert processes_of(directory) == []


@pytest.mark.broker
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["1/4", "2/4", "ok: messages on", "3/4", "4/4"])
def test_interrupted_it_stops_everything(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    number: signal.Signals,
    moment: str,
) -> None:
    directory = tmp_path / "demo"
    command = [*DEMO, "--fast", "--dir", str(directory)]
    demo = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    request.addfinalizer(demo.kill)
    assert demo.stderr is not None
    for line in demo.stderr:
        if line.startswith(moment):
            break
    time.sleep(0.1)
    demo.send_signal(number)
    time.sleep(0.05)
    demo.send_signal(number)  # an impatient user changes nothing
    rest = demo.stderr.read()
    demo.stderr.close()
    assert demo.wait(60) == 130, rest
    assert "Traceback" not in rest
    assert processes_of(directory) == []


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_kept_it_runs_on_and_says_what_to_try(edgectl: Any, tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    said = edgectl("demo", "--fast", "--keep", "--points", "1e6", "--dir", directory)
    try:
        assert said.code == 0
        assert f"export EDGEWHISK_LOCAL_DIR={directory}" in said.err
        listed = edgectl("action", "list", "--dir", directory, "--json").json
        assert {"hello", "dew_point", "weather"} <= {a["name"] for a in listed}
        state = read_state(directory)
        assert state is not None
        assert all(node.runs for node in state.nodes)
    finally:
        LocalFleet(directory).down()
    assert processes_of(directory) == []


def test_a_folder_that_is_no_demos_is_left_alone(edgectl: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    said = edgectl("demo", "--fast", "--dir", tmp_path)
    assert said.code == 2
    assert "no demo's" in said.err
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["mine.txt"]


def test_readings_are_numbered_and_numbers_are_numbers() -> None:
    readings = list(read_readings(example("data/new-york-hourly-2013.csv")))
    assert [r["seq"] for r in readings] == list(range(1, len(readings) + 1))
    assert readings[0]["temp_c"] == 3.9
    assert readings[0]["time"] == "2013-01-01T06Z"
    assert len(readings) == 8706


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([1.0], 50, 1.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_percentiles_are_nearest_ranks(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected


def test_lost_and_duplicates_are_told() -> None:
    measured = Measured(
        sent=3, results=1, duplicates=2, lost=(2, 3), latencies_ms=(5.0,), seconds=0.5
    )
    report = ReplayReport("t", "a", {"node1": 1}, measured).as_json()
    assert (report["lost"], report["duplicates"], report["p50_ms"]) == (2, 2, 5.0)


def test_a_replay_without_results_has_no_percentiles() -> None:
    measured = Measured(1, 0, 0, (1,), (), 1.0)
    report = ReplayReport("t", "a", {}, measured).as_json()
    assert (report["p50_ms"], report["p99_ms"]) == (None, None)
