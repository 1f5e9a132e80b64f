"""The demo of pins: a mock button and a mock lamp on a real node."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.controller.test_demo import processes_of

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("gpiozero", reason="pip install 'edgewhisk[gpio]'")

DEMO = [sys.executable, "-m", "controller", "demo", "--gpio"]


@pytest.mark.timeout(60)
def test_the_lamp_follows_the_button_and_nothing_is_left_running(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "demo"
    command = [*DEMO, "--dir", str(directory), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["switched"] == 10
    assert report["p50_ms"] > 0
    assert "press 5: the lamp is on" in told.stderr
    assert processes_of(directory) == []
