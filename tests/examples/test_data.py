"""The recorded readings are what their README says."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, Any]


def test_every_day_of_the_year_is_there_once(daily: list[Row]) -> None:
    days = [date.fromisoformat(row["date"]) for row in daily]
    assert days == [date(2015, 1, 1) + timedelta(days=n) for n in range(365)]


def test_the_days_are_readings_of_the_weather(daily: list[Row]) -> None:
    assert all(-30 < row["temp_min"] <= row["temp_max"] < 45 for row in daily)
    assert all(0 <= row["precipitation"] < 200 for row in daily)
    assert {row["weather"] for row in daily} <= {
        "drizzle",
        "rain",
        "snow",
        "sun",
        "fog",
    }


def test_the_hours_are_in_order_and_all_but_24_are_there(hourly: list[Row]) -> None:
    hours = [datetime.strptime(row["time"], "%Y-%m-%dT%H%z") for row in hourly]
    assert hours == sorted(set(hours))
    span = hours[-1] - hours[0] + timedelta(hours=1)
    assert span / timedelta(hours=1) - len(hours) == 24
    assert len(hours) == 8706


def test_the_hours_are_readings_of_the_weather(hourly: list[Row]) -> None:
    for row in hourly:
        assert -20 < row["temp_c"] < 45
        assert row["dew_point_c"] <= row["temp_c"] + 0.1
        assert 0 < row["humidity_pct"] <= 100


@pytest.mark.parametrize("name", ["seattle-daily-2015.csv", "new-york-hourly-2013.csv"])
def test_source_and_licence_of_each_file_are_told(examples: Path, name: str) -> None:
    readme = (examples / "data" / "README.md").read_text()
    section = readme.partition(f"## {name}")[2].partition("\n## ")[0]
    assert "- Source" in section
    assert "- Licence" in section
    assert (examples / "data" / name).stat().st_size < 300_000


def test_the_readme_shows_every_example(examples: Path) -> None:
    readme = (examples / "README.md").read_text()
    for folder in ("actions", "jobs"):
        for path in (examples / folder).iterdir():
            if path.suffix in {".py", ".js"}:
                assert f"`{folder}/{path.name}`" in readme
