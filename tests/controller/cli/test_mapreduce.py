"""`edgectl mapreduce run` and `edgectl pi` as a script sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

JOB = """
print("loading")
config = {"chunks": 6, "power": 2}
def args_for_action(index): return {"number": index}
def action(params): return {"value": params["number"] ** config["power"]}
def reduce(results):
    print("adding", len(results))
    return {"sum": sum(result["value"] for result in results)}
"""

Edgectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """No target but the one that is given, and no folder of the user's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "EDGEWHISK_LOCAL_DIR": str(tmp_path / "none"),
    }


@pytest.fixture
def edgectl(environ: dict[str, str]) -> Edgectl:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "controller", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=15,
            env=environ,
        )

    return call


@pytest.fixture(scope="module")
def at(shared_agent_factory: Callable[..., Any]) -> tuple[str, ...]:
    """The options that name a real agent, which all tests here share."""
    agent = shared_agent_factory()
    return ("--target", agent.url, "--auth", agent.key)


@pytest.fixture
def job(tmp_path: Path) -> str:
    path = tmp_path / "powers.py"
    path.write_text(JOB)
    return str(path)


def test_a_script_gets_one_document(
    edgectl: Edgectl, at: tuple[str, ...], job: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = edgectl(
        "mapreduce", "run", job, "--set", "power=3", "--out", str(out), *at, "--json"
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["result"] == {"sum": sum(n**3 for n in range(6))}
    assert ended.stderr == "loading\nadding 6\n"
    assert (report["chunks"], report["retries"], report["backups"]) == (6, 0, 0)
    (node,) = report["nodes"]
    assert set(node) == {"name", "chunks", "busy_s", "items_per_s", "failures"}
    assert len((out / "results.jsonl").read_text().splitlines()) == 6
    assert json.loads((out / "report.json").read_text()) == report


def test_a_person_sees_what_reduce_prints_and_the_nodes(
    edgectl: Edgectl, at: tuple[str, ...], job: str
) -> None:
    ended = edgectl("mapreduce", "run", job, *at)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("adding 6\n")
    assert '"sum": 55' in ended.stdout
    assert "ok: 6 chunks in " in ended.stderr


def test_pi_is_computed(edgectl: Edgectl, at: tuple[str, ...]) -> None:
    ended = edgectl("pi", "--points", "1e6", "--chunks", "8", *at, "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["result"]["points"] == 1_000_000
    assert set(report["result"]) == {"pi", "error", "stderr", "points"}
    assert report["result"]["error"] < 5 * report["result"]["stderr"]
    assert report["chunks"] == 8
    again = edgectl("pi", "--points", "1e6", "--chunks", "8", *at)
    assert again.stdout.startswith(f"pi = {report['result']['pi']:.9f}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pi", "--points", "many"), "'points' is a number, not 'many'"),
        (("mapreduce", "run", "nowhere.py"), "nowhere.py: there is no such file"),
        (("mapreduce", "run", "/"), "/: it is a folder; name a job file"),
        (("mapreduce", "run", "JOB", "--set", "power"), "--set takes KEY=VALUE"),
        (("mapreduce", "run", "JOB", "--set", "x=1"), "no setting 'x'; the job has:"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    edgectl: Edgectl, job: str, arguments: tuple[str, ...], told: str
) -> None:
    given = [job if argument == "JOB" else argument for argument in arguments]
    ended = edgectl(*given, "--target", "http://127.0.0.1:1", "--auth", "a:b")
    assert ended.returncode == 2
    assert told in ended.stderr
    assert len(ended.stderr.replace("loading\n", "").splitlines()) == 1
    assert ended.stdout == ""


def test_an_action_that_fails_is_one_line_and_exit_code_1(
    edgectl: Edgectl, at: tuple[str, ...], job: str
) -> None:
    path = Path(job)
    path.write_text(JOB.replace('params["number"]', 'params["numbre"]'))
    ended = edgectl("mapreduce", "run", job, *at)
    assert ended.returncode == 1
    _, line = ended.stderr.splitlines()
    assert "failed: application error: 'numbre' (activation " in line
    assert edgectl("action", "list", *at).stdout == ""


SLOW = """
import time
config = {"chunks": 400}
def action(params):
    time.sleep(0.3)
    return params
def reduce(results): return len(results)
"""


@pytest.fixture
def interrupted(
    environ: dict[str, str], at: tuple[str, ...], tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    command = [sys.executable, "-m", "controller", "mapreduce", "run", str(path), *at]
    process = subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        restore_signals=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_takes_the_action_back_and_keeps_the_results(
    edgectl: Edgectl,
    at: tuple[str, ...],
    interrupted: subprocess.Popen[str],
    tmp_path: Path,
) -> None:
    results = tmp_path / ".local/share/edgewhisk/runs"
    until = time.monotonic() + 10
    while not any(f.stat().st_size for f in results.glob("*/results.jsonl")):
        assert time.monotonic() < until
        time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    _, talk = interrupted.communicate(timeout=10)
    assert interrupted.returncode == 130
    assert f"of 400 map results are kept in {results}" in talk
    assert edgectl("action", "list", *at).stdout == ""


# --- runs -----------------------------------------------------------------------------


def runs(edgectl: Edgectl) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        edgectl("mapreduce", "list", "--json").stdout
    )
    return found


def wait_for_results(folder: Path) -> None:
    until = time.monotonic() + 10
    while not any(f.stat().st_size for f in folder.glob("*/results.jsonl")):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.timeout(60)
def test_a_crashed_run_is_resumed_where_it_was(
    edgectl: Edgectl,
    at: tuple[str, ...],
    interrupted: subprocess.Popen[str],
    tmp_path: Path,
) -> None:
    wait_for_results(tmp_path / ".local/share/edgewhisk/runs")
    (found,) = runs(edgectl)
    assert (found["state"], found["chunks"]) == ("running", 400)
    busy = edgectl("mapreduce", "resume", found["run"], *at)
    assert (busy.returncode, busy.stderr) == (
        2, f"error: run {found['run']} is running\n",
    )  # fmt: skip
    interrupted.kill()
    interrupted.wait()
    (found,) = runs(edgectl)
    assert found["state"] == "stopped"
    before = found["completed"]
    assert 0 < before < 400
    slow = tmp_path / "slow.py"
    slow.write_text(slow.read_text().replace("0.3", "0"))
    ended = edgectl("mapreduce", "resume", found["run"][:6], *at, "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["run"], report["result"], report["chunks"]) == (
        found["run"],
        400,
        400,
    )
    assert edgectl("action", "list", *at).stdout == ""
    shown = json.loads(edgectl("mapreduce", "show", found["run"], "--json").stdout)
    assert (shown["state"], shown["completed"]) == ("done", 400)
    assert shown["report"] == report
    assert 0 < shown["details"]["efficiency"] <= 1


@pytest.mark.timeout(60)
def test_a_run_is_cancelled_whether_it_goes_on_or_has_crashed(
    edgectl: Edgectl,
    at: tuple[str, ...],
    interrupted: subprocess.Popen[str],
    tmp_path: Path,
) -> None:
    wait_for_results(tmp_path / ".local/share/edgewhisk/runs")
    (found,) = runs(edgectl)
    ended = edgectl("mapreduce", "cancel", found["run"], *at)
    assert ended.returncode == 0, ended.stderr
    assert interrupted.wait(5) == 130
    assert runs(edgectl) == []
    assert edgectl("action", "list", *at).stdout == ""
    unknown = edgectl("mapreduce", "cancel", found["run"], *at)
    assert (unknown.returncode, "there is no run" in unknown.stderr) == (2, True)


def test_a_run_with_a_folder_of_its_own_is_found_by_its_name(
    edgectl: Edgectl, at: tuple[str, ...], job: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    bad = Path(job)
    good = bad.read_text()
    bad.write_text(good.replace("sum(", "summ("))
    failed = edgectl("mapreduce", "run", job, "--out", str(out), *at)
    assert failed.returncode == 1
    assert "powers.py:8: reduce failed: NameError" in failed.stderr
    (found,) = runs(edgectl)
    assert (found["state"], found["completed"]) == ("stopped", 6)
    bad.write_text(good)
    ended = edgectl("mapreduce", "resume", str(out), *at, "--json")
    assert json.loads(ended.stdout)["result"] == {"sum": 55}
    assert (out / "run.svg").exists()
    assert [each["state"] for each in runs(edgectl)] == ["done"]


def test_a_job_is_swept_over_chunks_and_settings(
    edgectl: Edgectl, at: tuple[str, ...], job: str, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    ended = edgectl(
        "mapreduce", "sweep", job, "--chunks", "2,4,...,8", "--set", "power=1..100",
        "--out", str(out), *at, "--json",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert [(run["settings"]["power"], run["chunks"]) for run in document["runs"]] == [
        (power, chunks) for power in ("1", "10", "100") for chunks in (2, 4, 8)
    ]
    assert "prior cluster, 4 cores" in (out / "chunks.svg").read_text()
    assert json.loads((out / "sweep.json").read_text())["runs"] == document["runs"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--chunks", "2,x"), "'--chunks' is a list like 1,2,4 or 2,4,...,5000"),
        (("--nodes", "7"), "'--nodes 7': the target has 1"),
        (("--set", "power"), "--set takes KEY=VALUE"),
        (("--cpus", "1"), "--cpus is for a fleet on this machine"),
    ],
)
def test_a_sweep_that_cannot_be_is_told(
    edgectl: Edgectl, job: str, arguments: tuple[str, ...], told: str
) -> None:
    target = ("--target", "http://127.0.0.1:1", "--auth", "a:b")
    ended = edgectl("mapreduce", "sweep", job, *arguments, *target)
    assert ended.returncode == 2
    assert told in ended.stderr
