"""The figures as a table and as a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.bench import core
from controller.bench.__main__ import main, table
from controller.bench.core import Missing
from controller.bench.load import BenchError
from controller.bench.row import Row, median_ratio
from controller.bench.server import Cores


def row(value: float, sign: str) -> Row:
    return Row(
        name="r",
        what="a thing",
        value=value,
        unit="x",
        sign=sign,  # type: ignore[arg-type]
        aim=2.0,
    )


@pytest.mark.parametrize(
    ("value", "sign", "met"),
    [(2, "<=", True), (2.1, "<=", False), (2, ">=", True), (1.9, ">=", False)],
)
def test_an_aim_is_met_or_not(value: float, sign: str, met: bool) -> None:
    assert row(value, sign).met is met


def test_the_ratio_is_of_each_pair() -> None:
    assert median_ratio([(1, 2), (100, 100), (3, 1)]) == 1


def test_the_table_says_what_is_met_and_what_is_missing() -> None:
    lines = table([row(1, "<="), row(3, "<=")], [Missing("cold", "no bwrap")])
    assert lines.splitlines() == [
        "    what     value         aim",
        "ok  a thing  1 x           <= 2",
        "--  a thing  3 x           <= 2",
        "??  cold     not measured  no bwrap",
    ]


def test_a_run_is_kept_with_its_surroundings(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: Cores) -> list[Row]:
        raise BenchError("no bwrap")

    fakes = {"good": lambda _: [row(1, "<=")], "cold": broken}
    monkeypatch.setattr(core, "MEASUREMENTS", fakes)
    monkeypatch.setattr("controller.bench.__main__.MEASUREMENTS", fakes)
    assert main(["--out", str(tmp_path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text()) == document
    assert document["rows"][0]["met"] is True
    assert document["missing"] == [{"name": "cold", "reason": "no bwrap"}]
    assert document["environment"]["kernel"]


def test_an_unknown_measurement_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["nope", "--out", str(tmp_path)])
    assert stopped.value.code == 2
