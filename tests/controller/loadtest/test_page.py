"""The report, opened by a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.loadtest.document import Measured, document
from controller.loadtest.locust_run import Stay
from controller.loadtest.page import page
from controller.loadtest.plan import Point, Terms, points_of
from controller.loadtest.plots import plots
from controller.loadtest.report import write
from controller.loadtest.samples import Sample
from controller.loadtest.usage import Prices
from controller.loadtest.watch import Moment, Watch

TERMS = Terms(quick=True, slots=True, languages=("python", "nodejs"), broker="h:1")
HOSTILE = "<script>document.title='owned'</script>"
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    "--disable-component-update",
)


def stay(point: Point) -> Stay:
    """Calls with all that a line may have."""
    names = {
        "transfer": ["transfer 1 KB hop", "transfer 100 KB hop"],
        "burst": ["burst 1000 matmul python: all"],
    }.get(point.scenario, [point.scenario])
    calls = [
        Sample(
            name,
            1000 + n / 10,
            0,
            ms := 10.0 + n % 7,
            ms,
            200,
            100,
            1,
            30 if point.scenario == "coldstart" else None,
            8,
            HOSTILE if n == 3 else None,
        )
        for name in names
        for n in range(60)
    ]
    return Stay(calls, point.seconds)


def moment(at_s: float) -> Moment:
    work, memory = at_s / 10, 50 << 20
    return Moment("pi-1", at_s, work, work, at_s, 4, memory, memory, 51.5, 3.2, 0.4)


@pytest.fixture
def measured() -> list[Measured]:
    names = ("concurrency", "payload", "transfer", "latency", "coldstart", "burst")
    points = [p for name in (*names, "mqtt", "soak") for p in points_of(name, TERMS)]
    return [Measured(point, [stay(point)], 1000, 1006) for point in points]


@pytest.fixture
def run(measured: list[Measured]) -> dict[str, Any]:
    watch = Watch([])
    watch.moments = [moment(1000 + n) for n in range(8)]
    watch.nodes = {"pi-1": {"version": "1", "isolation": {"level": HOSTILE}}}
    return document(
        measured,
        target="https://pi-1",
        begun=1000,
        terms=TERMS,
        prices=Prices(per_hour=0.01, watts=4),
        environment={"machine": HOSTILE},
        watch=watch,
        missing=["slots were not swept"],
    )


def test_every_scenario_has_its_picture_and_theirs_beside_it(run: Any) -> None:
    drawn = dict(plots(run))
    assert {name.partition("-")[0] for name in drawn} == {
        *("concurrency", "payload", "transfer", "latency", "coldstart", "burst"),
        *("mqtt", "soak", "node"),
    }
    for name in ("concurrency-rate", "payload-rate", "transfer-hop"):
        assert "Lean OpenWhisk, Pi 4" in drawn[name].svg()


def test_what_a_point_took_of_the_node_is_told(run: Any) -> None:
    usage = run["scenarios"][0]["points"][0]["usage"][0]
    assert usage["agent_cores"] == pytest.approx(0.1)
    assert usage["rest_cores"] == pytest.approx(0.8)
    assert (usage["agent_mb"], usage["temperature_c"]) == (50.0, 51.5)


def test_all_files_are_written_or_none(
    run: Any, measured: list[Measured], tmp_path: Path
) -> None:
    write(run, measured, tmp_path / "out")
    write(run, measured, tmp_path / "out")  # again, over the first
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    rows = (tmp_path / "out/samples.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(len(each.samples) for each in measured)
    broken = {**run, "scenarios": [{"name": "x"}]}
    with pytest.raises(KeyError):
        write(broken, measured, tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.browser
@pytest.mark.timeout(60)
def test_a_browser_shows_plots_and_tables_and_runs_nothing(
    run: Any, tmp_path: Path
) -> None:
    drawn = {name: figure.svg() for name, figure in plots(run)}
    file = tmp_path / "report.html"
    file.write_text(page(run, drawn))
    browser = shutil.which("chromium") or "chromium"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run(
        [browser, *OPTIONS, profile, "--dump-dom", f"file://{file}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    ).stdout
    assert shown.count("<svg") == len(drawn) > 8
    assert shown.count("<table>") >= len(run["scenarios"])
    assert len(re.findall("<h2", shown)) == len(run["scenarios"]) + 4
    assert "<title>Load tests of https://pi-1</title>" in shown
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    assert not re.search(r"(src|href)=", shown)
