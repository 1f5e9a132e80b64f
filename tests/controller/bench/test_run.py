"""`edgectl bench run` against a real agent, by Locust."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "controller", "bench", "run", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=80
    )


def test_a_scenario_becomes_figures_and_a_page(agent: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"
    target = ("--target", agent.url, "--auth", agent.key)
    ran = bench("latency", "--quick", "--out", str(out), *target, "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["report"] == str(out / "report.html")
    (scenario,) = report["scenarios"]
    assert scenario["name"] == "latency"
    assert scenario["requests"] > 0
    assert scenario["failures"] == 0
    assert scenario["rate_per_s"] > 0
    assert 0 <= scenario["p50_ms"] <= scenario["p99_ms"]
    kept = json.loads(Path(report["data"]).read_text())
    assert kept["scenarios"] == report["scenarios"]
    page = Path(report["report"]).read_text()
    assert "latency 1 KB warm" in page
    assert agent.key not in page


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("nope", "--target", "http://127.0.0.1:1", "--auth", "a:b"),
            "no scenario 'nope'; there are: concurrency, latency, payload",
        ),
        (
            ("latency", "--target", "http://127.0.0.1:1", "--auth", "a:b"),
            "http://127.0.0.1:1: no answer: ",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    ran = bench(*arguments, "--quick", "--out", str(tmp_path / "out"))
    assert ran.returncode == 2
    assert line in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "out" / "report.html").exists()
