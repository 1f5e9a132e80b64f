"""`edgectl apply -f MANIFEST`: every node has what the manifest asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import InputError

if TYPE_CHECKING:
    from controller.fleet.target import Chosen
    from controller.manifest.apply import NodeResult
    from controller.manifest.desired import Desired
    from controller.manifest.plan import Change

_PAST = {"create": "created", "update": "updated", "delete": "removed"}
_MARKS = {"create": "+", "update": "~", "delete": "-"}


@with_target
async def apply(
    call: Call,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="MANIFEST",
            help="wskdeploy's manifest.yaml; left out, what was applied before.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would change, change nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune",
            help="Remove what the project had and the manifest no longer has.",
        ),
    ] = True,
    project: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="In place of the manifest's project name."),
    ] = None,
) -> None:
    """Make every node have what a manifest asks for: its desired state.

    Packages, actions, sequences, triggers, feeds and rules, in wskdeploy's format;
    $NAME and ${NAME} are filled in from the environment. Only what differs is written:
    a second run changes nothing. The state is kept beside the inventory; without -f it
    is applied again, as `edgectl deploy` does for nodes that are new.
    """
    from controller.manifest.apply import apply_manifest
    from controller.manifest.kept import keep, place_of

    fleet = call.of_fleet()
    chosen = fleet.chosen()
    wanted = _wanted(file, project, chosen)
    whole = chosen.source is not None and call.choice.node is None
    if file is not None and whole and not check and chosen.source is not None:
        keep(place_of(chosen.source), wanted[0])
    async with fleet.clients() as clients:
        results = await apply_manifest(clients, wanted, prune=prune, check=check)
    _show(call, results, check=check)
    if file is not None and not wanted[0].named and prune:
        call.out.hint(
            "the manifest names no project: what you take out of it stays on the nodes"
        )
    if not all(result.well for result in results):
        raise typer.Exit(1)


def _wanted(file: Path | None, project: str | None, chosen: Chosen) -> list[Desired]:
    from controller.manifest.kept import place_of, read_kept
    from controller.manifest.read import read_manifest

    if file is not None:
        return [read_manifest(file, os.environ, project=project)]
    kept = [] if chosen.source is None else read_kept(place_of(chosen.source))
    found = [one for one in kept if project in {None, one.project}]
    if not found:
        raise InputError(
            f"nothing was applied to {chosen.origin} before; give -f MANIFEST"
        )
    return found


def _show(call: Call, results: Sequence[NodeResult], *, check: bool) -> None:
    out = call.out
    for result in results:
        name = result.target.name or result.target.url
        for change in result.planned if check else result.done:
            out.say(f"{name}: {_line(change, check=check)}")
        for problem in (*result.problems, *([result.away] if result.away else ())):
            out.error(f"{name}: {problem}")
    out.table(
        ("node", "created", "updated", "removed", "problems"),
        [_row(result, check=check) for result in results],
        document={"check": check, "nodes": [_document(r) for r in results]},
    )
    if all(result.well for result in results):
        changed = sum(len(r.planned if check else r.done) for r in results)
        word = "would change" if check else "changed"
        out.ok(f"{changed or 'nothing'} {word}" if changed else "nothing to change")


def _line(change: Change, *, check: bool) -> str:
    if check:
        return f"{_MARKS[change.op]} {change.key} ({change.reason})"
    return f"{_PAST[change.op]} {change.key}"


def _row(result: NodeResult, *, check: bool) -> tuple[str, ...]:
    changes = result.planned if check else result.done
    counts = [str(sum(c.op == op for c in changes)) for op in _PAST]
    wrong = len(result.problems) + bool(result.away)
    return (result.target.name or result.target.url, *counts, str(wrong or ""))


def _document(result: NodeResult) -> dict[str, Any]:
    return {
        "name": result.target.name,
        "url": result.target.url,
        "planned": [_change(change) for change in result.planned],
        "done": [_change(change) for change in result.done],
        "problems": result.problems,
        "away": result.away or None,
    }


def _change(change: Change) -> dict[str, str]:
    collection, name = change.key
    return {
        "op": change.op,
        "collection": collection,
        "name": name,
        "reason": change.reason,
    }
