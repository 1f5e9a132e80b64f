"""`edgectl mapreduce` and `edgectl pi`: compute on every node at once."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import InputError

if TYPE_CHECKING:
    from controller.mapreduce.progress import Report

app = typer.Typer(
    no_args_is_help=True, help="Map-reduce jobs, spread over the nodes of a fleet."
)

#: A second or two of a Raspberry Pi 4, and what `examples/jobs/pi.py` has itself.
POINTS_OF_A_CHUNK, LEAST_CHUNKS = 20_000_000, 64

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Keep every chunk's result in DIR (default: only while it runs).",
    ),
]


@app.callback()
def group() -> None:
    """Map-reduce jobs, spread over the nodes of a fleet."""


@app.command("run")
@with_target
def run(
    call: Call,
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A .py or .js job file.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the job's config; may be repeated. 1e9 is fine.",
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Run a job: its action on the nodes, its reduce here.

    A Python job has `config`, `args_for_action`, `action` and `reduce`, a JavaScript
    one exports `configs`, `argsForAction`, `action` and `reduce`.
    """
    report = _run(call, job, _settings(settings or []), out)
    if call.out.json:
        if report.printed and report.printed != report.result:
            call.out.say(report.printed.rstrip("\n"))
        call.out.document(report.as_json())
        return
    if report.printed:
        call.out.text(report.printed.rstrip("\n"))
    if report.result is not None and report.result != report.printed:
        call.out.document(report.result)
    _tell(call, report)


@with_target
def pi(
    call: Call,
    *,
    points: Annotated[
        str, typer.Option(metavar="N", help="How many random points; 1e9 is fine.")
    ] = "1e8",
    chunks: Annotated[
        str | None, typer.Option(metavar="N", help="In how many pieces.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Another seed, other points.")
    ] = None,
    out: Out = None,
) -> None:
    """Compute pi by Monte Carlo on all nodes."""
    from controller.mapreduce.examples import example

    given = {"points": points, "chunks": chunks or _chunks(points), "seed": seed}
    settings = {key: value for key, value in given.items() if value is not None}
    report = _run(call, example("jobs/pi.py"), settings, out)
    if call.out.json:
        call.out.document(report.as_json())
        return
    found = report.result
    call.out.text(f"pi = {found['pi']:.9f}")
    call.out.say(
        f"off by {found['error']:.2g}, expected about {found['stderr']:.2g}"
        f" of {found['points']:,} points"
    )
    _tell(call, report)


def _run(call: Call, job: Path, settings: dict[str, str], out: Path | None) -> Report:
    from controller.cli.mapreduce_progress import Display
    from controller.mapreduce.job_file import load_job
    from controller.mapreduce.run import run_loaded

    # The job first: a bad one is told even where there is no fleet.
    loaded = load_job(job, settings=settings)
    targets = call.chosen().targets
    with Display(loaded.items) as display:
        running = run_loaded(
            loaded, targets, settings=settings, out=out, on_progress=display.show
        )
        return asyncio.run(running)


def _chunks(points: str) -> str | None:
    """More than the job's own where they would take a small node too long."""
    try:
        wanted = float(points) / POINTS_OF_A_CHUNK
    except ValueError:
        return None  # the job says what is wrong with it
    return str(math.ceil(wanted)) if LEAST_CHUNKS < wanted < math.inf else None


def _settings(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set takes KEY=VALUE, not '{pair}'")
        found[key] = value
    return found


def _tell(call: Call, report: Report) -> None:
    """The nodes and the sum, for a person."""
    from controller.cli.mapreduce_progress import scaled

    call.out.table(
        ("NODE", "CHUNKS", "BUSY", "PER SECOND", "FAILURES"),
        [
            (
                node.name,
                str(node.chunks),
                f"{node.busy_s:.1f} s",
                scaled(node.items_per_s),
                str(node.failures),
            )
            for node in report.nodes
        ],
        document=None,
    )
    call.out.ok(
        f"{report.chunks} chunks in {report.seconds:.1f} s,"
        f" {report.retries} retries, {report.backups} backups"
    )
