"""The example actions: over the recorded years, and on a real agent."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.fleet.client import Client
from controller.fleet.target import Target
from controller.fleet.wire import ActionBody
from edge_agent.model.entities import Exec

Row = dict[str, Any]
Load = Callable[[str], dict[str, Any]]


def message(reading: Row) -> Row:
    """A reading as the MQTT feed hands it over."""
    return {
        "topic": "weather/daily",
        "payload": reading,
        "encoding": "json",
        "qos": 1,
        "retain": False,
        "properties": {},
        "received": 1_700_000_000_000,
    }


def run_js(path: Path, calls: list[Row]) -> list[Any]:
    """Call `main` of a JavaScript action once for each of `calls`."""
    script = f"""
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));
{path.read_text()}
console.log(JSON.stringify(calls.map(main)));
"""
    ended = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    found: list[Any] = json.loads(ended.stdout)
    return found


def test_a_year_of_days_is_judged(daily: list[Row], load: Load) -> None:
    main = load("actions/weather.py")["main"]
    results = [main(message(row)) for row in daily]
    assert [result["seq"] for result in results] == list(range(1, 366))
    days = Counter(result["day"] for result in results)
    assert days["frost"] == sum(row["temp_min"] < 0 <= row["temp_max"] for row in daily)
    assert days["summer"] == sum(row["temp_max"] > 25 for row in daily)
    assert sum(days.values()) == 365
    warmth = sum(max(0, (r["temp_max"] + r["temp_min"]) / 2 - 10) for r in daily)
    told = sum(result["growing_degree_days"] for result in results)
    assert told == pytest.approx(warmth)


def test_one_day_in_numbers(load: Load) -> None:
    reading = {"seq": 7, "date": "2015-06-01", "temp_max": 26.1, "temp_min": 14.4}
    assert load("actions/weather.py")["main"](reading) == {
        "seq": 7,
        "date": "2015-06-01",
        "mean_c": 20.25,
        "range_c": 11.7,
        "growing_degree_days": 10.25,
        "day": "summer",
    }


@pytest.mark.node
def test_javascript_judges_the_year_alike(
    daily: list[Row], load: Load, examples: Path
) -> None:
    calls = [message(row) for row in daily]
    main = load("actions/weather.py")["main"]
    assert run_js(examples / "actions/weather.js", calls) == list(map(main, calls))


NO_READINGS: list[Row] = [
    {},
    {"payload": None},
    {"payload": "cold"},
    {"payload": 21.5},
    {"payload": [1]},
    {"payload": {"temp_max": 3}},
]


@pytest.mark.parametrize("params", NO_READINGS)
@pytest.mark.parametrize("name", ["weather", "dew_point"])
def test_what_is_no_reading_is_an_application_error(
    load: Load, name: str, params: Row
) -> None:
    assert "error" in load(f"actions/{name}.py")["main"](params)


@pytest.mark.node
def test_what_is_no_reading_is_an_error_in_javascript_too(examples: Path) -> None:
    for result in run_js(examples / "actions/weather.js", NO_READINGS):
        assert list(result) == ["error"]


def test_the_dew_points_are_those_the_station_reported(
    hourly: list[Row], load: Load
) -> None:
    main = load("actions/dew_point.py")["main"]
    off = sorted(
        abs(main(message(row))["dew_point_c"] - row["dew_point_c"]) for row in hourly
    )
    assert statistics.median(off) <= 0.05
    # The rest are hours whose humidity was reported at another minute.
    assert off[int(0.95 * len(off))] <= 0.2


KINDS = {".py": "python:default", ".js": "nodejs:default"}
ACTIONS = [
    ("hello.py", {"name": "Ada"}, {"greeting": "Hello, Ada!"}),
    ("hello.py", {}, {"greeting": "Hello, stranger!"}),
    pytest.param(
        "hello.js",
        {"name": "Ada"},
        {"greeting": "Hello, Ada!"},
        marks=pytest.mark.node,
    ),
    (
        "dew_point.py",
        message({"seq": 1, "time": "t", "temp_c": 3.9, "humidity_pct": 59.4}),
        {"seq": 1, "time": "t", "dew_point_c": -3.3},
    ),
    (
        "weather.py",
        message({"seq": 2, "date": "d", "temp_max": 5.6, "temp_min": -3.2}),
        {
            "seq": 2,
            "date": "d",
            "mean_c": 1.2,
            "range_c": 8.8,
            "growing_degree_days": 0.0,
            "day": "frost",
        },
    ),
    pytest.param(
        "weather.js",
        message({"seq": 2, "date": "d", "temp_max": -1, "temp_min": -3.5}),
        {
            "seq": 2,
            "date": "d",
            "mean_c": -2.25,
            "range_c": 2.5,
            "growing_degree_days": 0,
            "day": "ice",
        },
        marks=pytest.mark.node,
    ),
]


@pytest.mark.parametrize(("file", "params", "result"), ACTIONS)
async def test_an_action_answers_on_a_real_agent(
    agent: Any,
    examples: Path,
    file: str,
    params: Row,
    result: Row,
) -> None:
    path = examples / "actions" / file
    body = ActionBody(exec=Exec(kind=KINDS[path.suffix], code=path.read_text()))
    async with Client(Target(agent.url, agent.key)) as client:
        await client.put_action("example", body)
        outcome = await client.invoke("example", msgspec.json.encode(params))
    assert outcome.success
    assert msgspec.json.decode(outcome.result) == result
