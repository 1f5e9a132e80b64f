"""`edgectl mapreduce sweep`: one job over chunks, nodes, shares of the processor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.fleet.target import Target
    from controller.mapreduce.sweep import Case, Point


def add_to(app: typer.Typer) -> None:
    app.command("sweep")(sweep)


@with_target
def sweep(
    call: Call,
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A .py or .js job file.")],
    *,
    chunks: Annotated[
        str, typer.Option(metavar="LIST", help="In how many pieces.")
    ] = "2,4,...,256",
    nodes: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="On how many nodes (default: on all)."),
    ] = None,
    cpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="How many CPUs the nodes may use together: of a local fleet, as root.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the job; 1e5..1e9 is a run for each power of ten.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the figures and data go.")
    ] = Path("sweep"),
    png: Annotated[bool, typer.Option("--png", help="Figures as PNG too.")] = False,
) -> None:
    """Run a job again and again, and draw how long it took.

    Writes sweep.json, chunks.svg (seconds over chunks, the prior cluster's curves
    beside them) and, for several --nodes, speed-up.svg.
    """
    from controller.mapreduce.options import OptionError
    from controller.mapreduce.runs import prune
    from controller.mapreduce.sweep import cases, draw, numbers

    targets = call.chosen().targets
    try:
        planned = list(
            cases(
                settings=dict(_pair(pair) for pair in settings or []),
                chunks=numbers(chunks, what="--chunks"),
                nodes=numbers(nodes, what="--nodes") if nodes else [len(targets)],
                cpus=numbers(cpus, what="--cpus", kind=float) if cpus else [None],
            )
        )
        points = list(_run_all(call, job, planned, targets))
    except OptionError as error:
        raise InputError(str(error)) from error
    prune()
    out.mkdir(parents=True, exist_ok=True)
    _keep(out, [point.document() for point in points])
    drawn = draw(job.name, points, out, png=png)
    _tell(call, points, [*drawn, out / "sweep.json"])


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"--set takes KEY=VALUE, not '{text}'")
    return key, value


def _run_all(
    call: Call, job: Path, planned: Sequence[Case], targets: Sequence[Target]
) -> Iterator[Point]:
    import asyncio
    from contextlib import ExitStack

    from controller.local_quota import quotas
    from controller.mapreduce.run import run_job
    from controller.mapreduce.sweep import Point, first_targets

    chunks_key = "numActions" if job.suffix in {".js", ".cjs"} else "chunks"
    for case in planned:
        chosen = first_targets(targets, case.nodes)
        wanted = {**case.settings, chunks_key: str(case.chunks)}
        with ExitStack() as stack:
            if case.cpus is not None:
                share = case.cpus / len(chosen)
                stack.enter_context(quotas(_processes(call, chosen), share))
            report = asyncio.run(run_job(job, chosen, settings=wanted))
        call.out.say(f"{case.label}, {case.chunks} chunks: {report.seconds:.2f} s")
        yield Point(case, report.seconds, report.efficiency)


def _processes(call: Call, chosen: Sequence[Target]) -> list[int]:
    """Of the nodes, which must be of a local fleet."""
    import os

    from controller.fleet.local_state import local_dir, read_state

    folder = call.choice.dir or local_dir(os.environ, Path.home())
    state = read_state(folder)
    found = {
        node.url: node.process.pid
        for node in (state.nodes if state else ())
        if node.process is not None and node.runs
    }
    try:
        return [found[target.url] for target in chosen]
    except KeyError as error:
        text = f"--cpus is for a fleet on this machine, and {error} is not of one"
        raise InputError(text) from None


def _keep(out: Path, rows: list[dict[str, Any]]) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode({"runs": rows}), indent=2)
    (out / "sweep.json").write_bytes(text + b"\n")


def _tell(call: Call, points: Sequence[Point], files: Sequence[Path]) -> None:
    call.out.table(
        ("RUN", "CHUNKS", "SECONDS", "EFFICIENCY"),
        [
            (
                point.case.label,
                str(point.case.chunks),
                f"{point.seconds:.2f}",
                f"{point.efficiency:.0%}",
            )
            for point in points
        ],
        document={
            "files": [str(file) for file in files],
            "runs": [point.document() for point in points],
        },
    )
    call.out.ok(f"{len(points)} runs; see {', '.join(map(str, files))}")
