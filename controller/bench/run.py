"""Run scenarios of the load tests by Locust, one after another, and gather the figures.

Locust is a process of its own: it patches the standard library when it is imported.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from controller.bench import machine
from controller.bench.load import BenchError
from controller.bench.page import page
from controller.fleet.target import Target

QUICK_S, FULL_S = 5, 30
STOP_TIMEOUT_S = 60.0
BAD_INPUT = 2
#: Clients of a scenario; any other has four.
CLIENTS = {"concurrency": 8, "latency": 1}
DEFAULT_CLIENTS = 4


class BadScenario(BenchError):
    exit_code = BAD_INPUT


@dataclass(frozen=True)
class Line:
    """One line of Locust's table; times in ms, of calls that failed as well."""

    name: str
    requests: int
    failures: int
    rate_per_s: float
    p50_ms: float
    p99_ms: float

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "requests": self.requests,
            "failures": self.failures,
            "rate_per_s": round(self.rate_per_s, 2),
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
        }


@dataclass(frozen=True)
class Scenario:
    """All lines of a scenario in one, and apart."""

    total: Line
    lines: tuple[Line, ...]
    #: Why calls failed, and how many: each distinct text of Locust's table.
    errors: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        lines = [line.document() for line in self.lines]
        return {**self.total.document(), "lines": lines, "errors": dict(self.errors)}


def folder() -> Path:
    """Where the load tests are: beside us in a checkout, or installed."""
    spec = find_spec("loadtests")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("the load tests are not installed")
    return Path(spec.submodule_search_locations[0])


def scenarios() -> list[str]:
    return sorted(path.stem for path in folder().glob("[!_]*.py"))


def run_scenarios(
    names: Sequence[str],
    target: Target,
    *,
    quick: bool,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run each scenario alone; write `run.json` and `report.html` to `out`.

    Args:
        names: of scenarios; all when empty.
        target: whom to ask.
        quick: seconds instead of half a minute each.
        out: is made when it is not there.
        say: told what is being run.

    Raises:
        BadScenario: there is no such scenario, or Locust refused host or key.
        BenchError: nothing was measured.
        ModuleNotFoundError: Locust is not installed.
    """
    if find_spec("locust") is None:
        raise ModuleNotFoundError("No module named 'locust'", name="locust")
    known = scenarios()
    for name in names:
        if name not in known:
            raise BadScenario(f"no scenario '{name}'; there are: {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    seconds = QUICK_S if quick else FULL_S
    found = []
    for name in names or known:
        say(f"{name}: {CLIENTS.get(name, DEFAULT_CLIENTS)} clients for {seconds} s")
        found.append(_run(name, target, seconds))
    return _report(found, target, seconds, out)


def _report(
    found: Sequence[Scenario], target: Target, seconds: int, out: Path
) -> dict[str, Any]:
    document = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": target.url,
        "seconds": seconds,
        "environment": machine.describe(),
        "scenarios": [scenario.document() for scenario in found],
    }
    report, data = out / "report.html", out / "run.json"
    data.write_text(json.dumps(document, indent=2) + "\n")
    report.write_text(page(document))
    return {
        "report": str(report),
        "data": str(data),
        "scenarios": document["scenarios"],
    }


def _run(name: str, target: Target, seconds: int) -> Scenario:
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as place:
        prefix = Path(place) / "stats"
        command = [sys.executable, "-m", "locust", "-f", str(folder()), _user(name)]
        command += ["--headless", "--json-file", str(prefix), "--csv", str(prefix)]
        clients = str(CLIENTS.get(name, DEFAULT_CLIENTS))
        command += ["-u", clients, "-r", clients, "-t", f"{seconds}s"]
        command += ["--insecure"] if target.insecure else []
        said = _finished(command, _environment(target))
        if not prefix.with_suffix(".json").exists():
            raise BadScenario(_reason(said))
        return _read(name, prefix)


def _user(name: str) -> str:
    return f"{name.capitalize()}User"


def _environment(target: Target) -> dict[str, str]:
    """Keys go by the environment: a command line is for everybody to read."""
    known = {"OPENWHISK_APIHOST": target.url, "OPENWHISK_AUTH": target.key}
    if target.system_key:
        known["OPENWHISK_SYSTEM_AUTH"] = target.system_key
    return {**os.environ, **known}


def _finished(command: Sequence[str], environment: dict[str, str]) -> str:
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with _ending(process):
            _, said = process.communicate()
        return said


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """Interrupted, let Locust take its actions away before we go."""
    try:
        yield
    except BaseException:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["Locust said nothing"])[-1]
    return last.removeprefix("error: ")


def _read(name: str, prefix: Path) -> Scenario:
    """Read Locust's `--json-file` (an entry for each line) and failures (`--csv`)."""
    entries = json.loads(prefix.with_suffix(".json").read_text())
    lines = tuple(_line(entry["name"], [entry]) for entry in entries)
    if not lines:
        raise BenchError(f"{name}: nothing was measured")
    with Path(f"{prefix}_failures.csv").open(newline="") as table:
        errors: Counter[str] = Counter()
        for row in csv.DictReader(table):
            errors[row["Error"]] += int(row["Occurrences"])
    return Scenario(_line(name, entries), lines, errors)


def _line(name: str, entries: Sequence[dict[str, Any]]) -> Line:
    times: Counter[float] = Counter()
    for entry in entries:
        for ms, count in entry["response_times"].items():
            times[float(ms)] += count
    requests = sum(entry["num_requests"] for entry in entries)
    begun = min(entry["start_time"] for entry in entries)
    ended = max(entry["last_request_timestamp"] or begun for entry in entries)
    return Line(
        name=name,
        requests=requests,
        failures=sum(entry["num_failures"] for entry in entries),
        rate_per_s=requests / max(ended - begun, 0.001),
        p50_ms=_percentile(times, 0.5),
        p99_ms=_percentile(times, 0.99),
    )


def _percentile(times: Counter[float], share: float) -> float:
    rank, seen = share * times.total(), 0
    for ms in sorted(times):
        seen += times[ms]
        if seen >= rank:
            return ms
    return 0.0
