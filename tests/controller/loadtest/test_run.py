"""`edgectl bench` against a real agent, and against a host that is bad on purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from controller.loadtest.plan import SCENARIOS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(160)]


def document(ran: Any) -> Any:
    assert ran.returncode in {0, 1}, ran.stderr
    return json.loads(Path(json.loads(ran.stdout)["data"]).read_text())


def lines_of(run: Any) -> dict[tuple[str, str], Any]:
    return {
        (point["label"], line["name"]): line
        for scenario in run["scenarios"]
        for point in scenario["points"]
        for line in point["lines"]
    }


def test_a_real_agent_gets_a_report(agent: Any, bench: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ran = bench(
        *("run", "latency", "--quick", "--json", "--out", str(out)),
        *("--watts", "4", "--price", "0.01", "--system-auth", agent.system_key),
        url=agent.url,
        key=agent.key,
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["report"] == str(out / "report.html")
    (scenario,) = report["scenarios"]
    assert scenario.keys() == {
        *("name", "requests", "failures", "rate_per_s", "p50_ms", "p99_ms")
    }
    assert scenario["requests"] > 0 == scenario["failures"]
    run = document(ran)
    closed, opened = lines_of(run).values()
    assert (closed["loop"], opened["loop"]) == ("closed", "open")
    assert closed["server"]["run_ms"] is not None
    assert 0 < closed["server"]["overhead_share"] <= 1
    assert opened["requests"] == pytest.approx(20 * 5, rel=0.35)
    (node,) = run["watch"].values()
    assert max(node["agent"]) > 0
    assert max(node["agent_mb"]) > 10
    point = run["scenarios"][0]["points"][0]
    assert point["cost"].keys() >= {"energy_call_j", "price_million"}
    (skew,) = run["skew"].values()
    assert abs(skew["ms"]) < 1000
    written = {path.name for path in out.iterdir()}
    assert written == {"report.html", "run.json", "lines.csv", "samples.csv", "plots"}
    everything = "".join(p.read_text() for p in out.iterdir() if p.is_file())
    assert agent.key not in everything
    assert agent.system_key not in everything


def test_a_stall_shows_in_the_open_loop_alone_and_failures_by_status(
    stand_in: Any, bench: Any, tmp_path: Path
) -> None:
    url = stand_in("--fail", "0.1", "--stall", "1")
    out = str(tmp_path / "report")
    ran = bench("run", "latency", "--quick", "--json", "--out", out, url=url)
    assert ran.returncode == 1
    assert "calls failed" in ran.stderr
    closed, opened = lines_of(document(ran)).values()
    for line in (closed, opened):
        share = line["statuses"]["500"] / line["requests"]
        assert share == pytest.approx(0.1, abs=0.04)
        assert line["errors"] == {"500 out of order": line["statuses"]["500"]}
        assert line["max_ms"] > 600
    # A fifth of what was due waited; the closed loop asked once in that second.
    assert opened["p99_ms"] > 500
    assert closed["p99_ms"] < opened["p99_ms"] / 2
    run = document(ran)
    assert any("slots" not in text and "nodes" in text for text in run["not_measured"])


@pytest.mark.skipif(
    os.environ.get("EW_FAULTS") != "full", reason="two minutes: make faults"
)
def test_the_knee_is_near_what_the_host_can_do(stand_in: Any, bench: Any) -> None:
    url = stand_in("--slots", "2", "--service-ms", "40")
    ran = bench(
        *("limits", "--of", "rate_per_s", "--slo", "p90<200ms,errors<1%"),
        *("--quick", "--json"),
        url=url,
    )
    assert ran.returncode == 0, ran.stderr
    knee = json.loads(ran.stdout)["rate_per_s"]
    assert knee["value"] == pytest.approx(2 / 0.04, rel=0.15)
    assert knee["low"] <= knee["value"] < knee["high"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "nope"), f"no scenario 'nope'; there are: {', '.join(SCENARIOS)}"),
        (("run", "latency"), "http://127.0.0.1:1: "),
        (("run", "mqtt"), "http://127.0.0.1:1: "),
        (("limits", "--slo", "p99<fast"), "'p99<fast' is not of the form"),
        (("limits", "--of", "luck"), "no limit 'luck'"),
        (("limits",), "http://127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    bench: Any, tmp_path: Path, arguments: tuple[str, ...], line: str
) -> None:
    given = ("--out", str(tmp_path / "out")) if arguments[0] == "run" else ()
    ran = bench(*arguments, *given, url="http://127.0.0.1:1")
    assert ran.returncode == 2
    (said,) = ran.stderr.strip().splitlines()
    assert line in said
    assert not (tmp_path / "out").exists()


def test_a_wrong_key_is_one_line_and_exit_code_2(
    agent: Any, bench: Any, tmp_path: Path
) -> None:
    ran = bench("run", "latency", "--out", str(tmp_path / "out"), url=agent.url)
    assert ran.returncode == 2
    assert agent.url in ran.stderr
    assert not (tmp_path / "out").exists()


def test_messages_need_a_broker(agent: Any, bench: Any, tmp_path: Path) -> None:
    ran = bench(
        *("run", "mqtt", "--out", str(tmp_path / "out")), url=agent.url, key=agent.key
    )
    assert ran.returncode == 2
    assert "no broker is named (--broker)" in ran.stderr
