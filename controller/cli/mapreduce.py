"""`edgectl mapreduce run|resume` and `edgectl pi`: compute on every node at once."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import mapreduce_runs, mapreduce_sweep
from controller.cli.call import Call, with_target
from controller.cli.errors import InputError

if TYPE_CHECKING:
    from controller.mapreduce.job import Job
    from controller.mapreduce.plan import Run
    from controller.mapreduce.progress import Report

app = typer.Typer(
    no_args_is_help=True, help="Map-reduce jobs, spread over the nodes of a fleet."
)

#: A second or two of a Raspberry Pi 4, and what `examples/jobs/pi.py` has itself.
POINTS_OF_A_CHUNK, LEAST_CHUNKS = 20_000_000, 64

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="A .py or .js job file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the job's config; may be repeated. 1e9 is fine.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Keep every chunk's result, the report and a picture in DIR"
        " (default: results only while it runs).",
    ),
]
RetryErrors = Annotated[
    int | None,
    typer.Option(
        "--retry-errors",
        metavar="N",
        min=0,
        help="Run a chunk whose action fails up to N times more (default: the job's"
        " own 'retry_errors', else 0).",
    ),
]


@app.callback()
def group() -> None:
    """Map-reduce jobs, spread over the nodes of a fleet."""


@app.command("run")
@with_target
def run(
    call: Call,
    job: JobFile,
    *,
    settings: Settings = None,
    out: Out = None,
    retry_errors: RetryErrors = None,
) -> None:
    """Run a job: its action on the nodes, its reduce here.

    A Python job has `config`, `args_for_action`, `action` and `reduce`, a JavaScript
    one exports `configs`, `argsForAction`, `action` and `reduce`.
    """
    report = _run(call, job, _settings(settings or []), out, retry_errors)
    _answer(call, report)


@app.command("resume")
@with_target
def resume(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="RUN", help="Its name, or folder.")],
    *,
    retry_errors: RetryErrors = None,
) -> None:
    """Go on with a run that was interrupted, failed or crashed.

    What has been computed is not computed again. The job file is read anew, so a reduce
    that failed may have been mended meanwhile.
    """
    from controller.mapreduce.job_file import load_job
    from controller.mapreduce.plan import plan_again
    from controller.mapreduce.runs import State, find_run

    found = find_run(name)
    if found.state in {State.DONE, State.CANCELLED, State.RUNNING}:
        raise InputError(f"run {found.header.run} is {found.state}")
    loaded = load_job(Path(found.header.job), settings=found.header.settings)
    planned = plan_again(_tolerant(loaded, retry_errors), found.folder, found.header)
    _answer(call, _carry_out(call, planned))


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
    from controller.cli.mapreduce_tell import tell
    from controller.mapreduce.examples import example

    given = {"points": points, "chunks": chunks or _chunks(points), "seed": seed}
    settings = {key: value for key, value in given.items() if value is not None}
    report = _run(call, example("jobs/pi.py"), settings, out, None)
    if call.out.json:
        call.out.document(report.as_json())
        return
    found = report.result
    call.out.text(f"pi = {found['pi']:.9f}")
    call.out.say(
        f"off by {found['error']:.2g}, expected about {found['stderr']:.2g}"
        f" of {found['points']:,} points"
    )
    tell(call.out, report)


def _run(
    call: Call,
    job: Path,
    settings: dict[str, str],
    out: Path | None,
    retry_errors: int | None,
) -> Report:
    from controller.mapreduce.job_file import load_job
    from controller.mapreduce.plan import plan

    # The job first: a bad one is told even where there is no fleet.
    loaded = _tolerant(load_job(job, settings=settings), retry_errors)
    planned = plan(loaded, settings=settings, out=out, listed=True)
    return _carry_out(call, planned)


def _tolerant(job: Job, retry_errors: int | None) -> Job:
    import dataclasses

    if retry_errors is None:
        return job
    return dataclasses.replace(job, retry_errors=retry_errors)  # type: ignore[type-var]


def _carry_out(call: Call, planned: Run) -> Report:
    import asyncio

    from controller.cli.mapreduce_progress import Display
    from controller.mapreduce.errors import RunFailed
    from controller.mapreduce.run import run_planned
    from controller.mapreduce.runs import prune

    targets = call.chosen().targets
    unit = planned.job.items or ("inputs" if planned.job.by_inputs else "chunks")
    try:
        with Display(unit) as display:
            running = run_planned(
                planned,
                targets,
                on_progress=display.show,
                find_targets=lambda: call.chosen().targets,
            )
            report = asyncio.run(_until_told(running))
    except (RunFailed, KeyboardInterrupt):
        call.out.hint(f"go on with: edgectl mapreduce resume {planned.id}")
        raise
    prune()
    return report


async def _until_told(running: Coroutine[Any, Any, Report]) -> Report:
    """SIGTERM ends it as Ctrl-C does: what it has put on the nodes is taken away."""
    import asyncio
    import signal

    task = asyncio.ensure_future(running)
    told = False

    def end() -> None:
        nonlocal told
        told = True
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise


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


def _answer(call: Call, report: Report) -> None:
    from controller.cli.mapreduce_tell import tell

    if call.out.json:
        if report.printed and report.printed != report.result:
            call.out.say(report.printed.rstrip("\n"))
        call.out.document(report.as_json())
        return
    if report.printed:
        call.out.text(report.printed.rstrip("\n"))
    if report.result is not None and report.result != report.printed:
        call.out.document(report.result)
    tell(call.out, report)


mapreduce_runs.add_to(app)
mapreduce_sweep.add_to(app)
