"""`edgectl mapreduce list|show|cancel`: the runs of this user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import Call, with_output, with_target
from controller.cli.output import Output

if TYPE_CHECKING:
    from controller.mapreduce.runs import Found

Name = Annotated[str, typer.Argument(metavar="RUN", help="Its name, or folder.")]


def add_to(app: typer.Typer) -> None:
    app.command("list")(list_them)
    app.command("show")(show)
    app.command("cancel")(cancel)


@with_output
def list_them(out: Output) -> None:
    """List the runs, newest first: what goes on, was left, or is done."""
    from controller.mapreduce.runs import list_runs

    runs = list_runs()
    out.table(
        ("RUN", "JOB", "STATE", "DONE", "BEGAN"),
        [_row(found) for found in runs],
        document=[found.document() for found in runs],
    )


def _row(found: Found) -> tuple[str, ...]:
    from datetime import UTC, datetime
    from pathlib import Path

    header = found.header
    began = datetime.fromtimestamp(header.started_ms / 1000, UTC).astimezone()
    done = f"{found.completed}/{header.units}"
    job = Path(header.job).name
    return header.run, job, found.state, done, f"{began:%Y-%m-%d %H:%M:%S}"


@with_output
def show(
    out: Output,
    name: Name,
    *,
    png: Annotated[
        bool,
        typer.Option("--png", help="Draw run.png into the folder of a finished run."),
    ] = False,
) -> None:
    """Show a run: how far it is, and when it is done its report and details."""
    from controller.mapreduce.gantt import draw_run
    from controller.mapreduce.runs import find_run, report_of, reports_of

    found = find_run(name)
    if png:
        for drawn in draw_run(found.folder, report_of(found), png=True):
            out.ok(f"drew {drawn}")
    document = found.document()
    for file, content in reports_of(found).items():
        document[file.removesuffix(".json")] = content
    out.document(document)


@with_target
async def cancel(call: Call, name: Name) -> None:
    """Stop a run for good, and take its actions off the nodes.

    Its results go too, unless it has a folder of its own (`--out`).
    """
    import asyncio

    from controller.mapreduce.errors import RunUnknown
    from controller.mapreduce.run import crew, remove_one
    from controller.mapreduce.runs import State, find_run, forget, stop

    found = find_run(name)
    if found.state in {State.DONE, State.CANCELLED}:
        raise RunUnknown(f"run {found.header.run} is {found.state}")
    await asyncio.to_thread(stop, found)
    if found.state is not State.RUNNING:  # a crash leaves its actions on the nodes
        async with crew(found.header.run, call.chosen().targets) as (nodes, _):
            for action_name in found.header.actions:
                removing = (remove_one(node, action_name, knew=True) for node in nodes)
                await asyncio.gather(*removing)
    await asyncio.to_thread(forget, found)
    call.out.ok(f"run {found.header.run} is cancelled")
    if call.out.json:
        call.out.document({"run": found.header.run, "state": "cancelled"})
