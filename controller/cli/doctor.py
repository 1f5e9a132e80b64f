"""`edgectl doctor [NODE]`: what is wrong with the nodes, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from pathlib import Path

    from controller.doctor.look import Finding

_COLUMNS = ("node", "version", "isolation", "kinds", "memory", "load", "inbox")
MEBIBYTE = 1 << 20


@with_target
async def doctor(
    call: Call,
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="One node of the target.")
    ] = None,
    ssh: Annotated[
        bool,
        typer.Option(help="Look over SSH at nodes whose API does not answer."),
    ] = True,
) -> None:
    """Look at every node: does it answer, how does it isolate, what is in its way.

    Each trap comes with its fix. A node of an inventory whose API does not answer is
    looked at over SSH. The exit code is 1 when something is wrong, and 0 when there is
    advice only.
    """
    from controller.doctor.look import look
    from controller.fleet.client import NO_RETRY

    fleet = call.of_fleet()
    chosen = fleet if node is None else Call(replace(fleet.choice, node=node), call.out)
    inventory = _inventory(chosen) if ssh else None
    async with chosen.clients(retry=NO_RETRY, timeout_s=5) as clients:
        found = await look(clients, inventory)
    call.out.table(
        _COLUMNS,
        [_row(finding) for finding in found],
        document=[_document(finding) for finding in found],
    )
    for finding in found:
        for problem in finding.problems:
            tell = call.out.warn if problem.serious else call.out.say
            tell(f"{finding.name}: {problem}")
    if not all(finding.well for finding in found):
        raise typer.Exit(1)
    call.out.ok("nothing is wrong")


def _inventory(call: Call) -> Path | None:
    """The inventory, where the nodes are of one: it says how to reach them."""
    chosen = call.chosen()
    return chosen.source if chosen.origin.startswith("inventory ") else None


def _document(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "url": finding.url,
        "answers": finding.answers,
        "well": finding.well,
        "problems": finding.problems,
        "report": finding.report or None,
    }


def _row(finding: Finding) -> tuple[str, ...]:
    report = finding.report
    if not report:
        return (finding.name, "", "", "", "", "", "")
    pool, store = report.get("pool") or {}, report.get("store") or {}
    return (
        finding.name,
        str(report.get("version", "")),
        str((report.get("isolation") or {}).get("level", "")),
        ", ".join(report.get("kinds") or ()),
        f"{report.get('rss_bytes', 0) / MEBIBYTE:.0f} MB",
        f"{pool.get('running', 0)} of {pool.get('slots', '?')} slots",
        str(store.get("inbox", "")),
    )
