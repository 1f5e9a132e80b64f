from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.loadtest.compare import compare, read_run
from controller.loadtest.errors import BadLoadtest


def run(p50: float, *, spread: float = 0.1, rate: float = 100, name: str = "a") -> Any:
    def around(value: float) -> dict[str, float]:
        low, high = value * (1 - spread), value * (1 + spread)
        return {"value": value, "low": low, "high": high}

    intervals = {
        "rate_per_s": around(rate),
        "p50_ms": around(p50),
        "p99_ms": around(90),
    }
    line = {"name": name, "intervals": intervals}
    points = [{"label": "latency (loop closed)", "lines": [line]}]
    return {"format": 1, "scenarios": [{"name": "latency", "points": points}]}


def verdicts(**runs: Any) -> dict[tuple[str, str], str]:
    found = compare(runs).differences
    return {(each.run, each.figure): each.verdict for each in found}


def test_within_the_intervals_nothing_is_said_to_differ() -> None:
    assert set(verdicts(first=run(10), second=run(11)).values()) == {"same"}


def test_beyond_them_it_is_better_or_worse() -> None:
    found = verdicts(first=run(10), slow=run(20), quick=run(5), more=run(10, rate=200))
    assert found["slow", "p50_ms"] == "worse"
    assert found["quick", "p50_ms"] == "better"
    assert found["more", "rate_per_s"] == "better"
    assert compare({"first": run(10), "slow": run(20)}).worse
    assert not compare({"first": run(10), "quick": run(5)}).worse


def test_what_only_some_have_is_named() -> None:
    both = run(10)
    both["scenarios"] += run(3, name="b")["scenarios"]
    assert compare({"first": both, "second": run(10)}).missing == [
        "latency (loop closed): b"
    ]


def test_runs_with_nothing_in_common_are_refused() -> None:
    with pytest.raises(BadLoadtest, match="no line in common"):
        compare({"first": run(1), "second": run(1, name="b")})


def test_a_run_is_read_from_its_folder_or_its_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run(1)))
    assert read_run(tmp_path) == read_run(tmp_path / "run.json") == run(1)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', "{"])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadLoadtest, match=r"run\.json: not a run"):
        read_run(tmp_path)
    with pytest.raises(BadLoadtest, match="No such file"):
        read_run(tmp_path / "nowhere")
