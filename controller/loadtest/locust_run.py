"""One stay of Locust on a target.

It is a process of its own, since it patches the standard library when it is imported.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from controller.fleet.target import Target
from controller.loadtest.errors import BadLoadtest, LoadtestError
from controller.loadtest.plan import Point
from controller.loadtest.samples import Sample, read_samples

STOP_TIMEOUT_S = 60.0
#: Beyond its own time: starting, warming, waiting for the last answers.
GRACE_S = 120.0
#: Until all workers have joined.
JOIN_S = 60
#: A scenario that ends by itself.
MOST_S = 1800.0
WARM_UP_SHARE, WARM_UP_MOST_S = 0.2, 5.0


@dataclass(frozen=True)
class Crew:
    """Who makes the calls: this process alone, or `workers` that join at `port`.

    With `local` they are processes of this machine.
    """

    workers: int = 0
    port: int = 0
    local: bool = False


ALONE = Crew()


@dataclass(frozen=True)
class Stay:
    samples: list[Sample]
    seconds: float | None


def folder() -> Path:
    """Where the load tests are: beside us in a checkout, or installed."""
    spec = find_spec("loadtests")
    if spec is None or not spec.submodule_search_locations:
        raise LoadtestError("the load tests are not installed")
    if find_spec("locust") is None:
        raise ModuleNotFoundError("No module named 'locust'", name="locust")
    return Path(spec.submodule_search_locations[0])


def stay(point: Point, target: Target, crew: Crew = ALONE) -> Stay:
    """Run a point.

    Raises:
        BadLoadtest: host, key or an option is refused; the text is Locust's line.
        LoadtestError: nothing was measured, or Locust did not end.
        ModuleNotFoundError: Locust is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as place:
        file = Path(place) / "samples.csv"
        said = _finished(_command(point, target, file, crew), _environment(target))
        if not file.exists():
            raise BadLoadtest(_reason(said))
        samples = read_samples(file)
    if not samples:
        raise LoadtestError(
            f"{point.label}: nothing was measured: no answer after the warm-up"
        )
    return Stay(samples, point.seconds)


def _command(point: Point, target: Target, samples: Path, crew: Crew) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(folder()), point.user]
    command += ["--headless", "--only-summary", "--samples", str(samples)]
    command += ["-u", str(point.users), "-r", str(point.users)]
    if point.seconds is not None:
        warm_up = min(point.seconds * WARM_UP_SHARE, WARM_UP_MOST_S)
        seconds = max(1, round(point.seconds + warm_up))
        command += ["-t", f"{seconds}s", "--warm-up", str(warm_up)]
    if point.rate is not None:
        command += ["--rate", str(point.rate), "--arrivals", "poisson"]
    command += ["--insecure"] if target.insecure else []
    command += ["--ca-file", str(target.ca)] if target.ca else []
    return [*command, *_of_crew(crew), *point.options]


def _of_crew(crew: Crew) -> list[str]:
    if not crew.workers:
        return []
    if crew.local:
        return ["--processes", str(crew.workers)]
    joining = ["--master", "--master-bind-port", str(crew.port)]
    joining += ["--expect-workers", str(crew.workers)]
    return [*joining, "--expect-workers-max-wait", str(JOIN_S)]


def _environment(target: Target) -> dict[str, str]:
    """Keys go by the environment: a command line is for everybody to read."""
    known = {"OPENWHISK_APIHOST": target.url, "OPENWHISK_AUTH": target.key}
    if target.system_key:
        known["OPENWHISK_SYSTEM_AUTH"] = target.system_key
    return {**os.environ, **known}


def _finished(command: Sequence[str], environment: dict[str, str]) -> str:
    """What it said; its exit code only repeats that calls failed."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with _ending(process):
            _, said = process.communicate(timeout=MOST_S + GRACE_S)
        return said


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    """Interrupted, let Locust take its actions away before we go."""
    try:
        yield
    except BaseException as error:
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        if isinstance(error, subprocess.TimeoutExpired):
            raise LoadtestError(
                f"Locust did not end in {error.timeout:.0f} s"
            ) from None
        raise


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line]
    last = (errors or lines or ["Locust said nothing"])[-1]
    return last.partition("error: ")[2] or last
