from __future__ import annotations

import csv
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run that fails keeps, it keeps here."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def daily() -> list[Row]:
    """The recorded days as messages: numbers are numbers, and `seq` counts."""
    return _readings("seattle-daily-2015.csv", {"date", "weather"})


@pytest.fixture
def hourly() -> list[Row]:
    return _readings("new-york-hourly-2013.csv", {"time"})


def _readings(name: str, words: set[str]) -> list[Row]:
    with (EXAMPLES / "data" / name).open(newline="") as lines:
        return [
            {"seq": seq}
            | {
                key: text if key in words else float(text)
                for key, text in row.items()
                if text
            }
            for seq, row in enumerate(csv.DictReader(lines), 1)
        ]


@pytest.fixture
def load() -> Callable[[str], dict[str, Any]]:
    """The names a Python example defines."""
    return lambda name: runpy.run_path(str(EXAMPLES / name))
