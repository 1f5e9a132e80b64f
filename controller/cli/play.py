"""What the commands that run a playbook share: options, the log, the recap."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.errors import Failed, InputError
from controller.cli.output import Output
from controller.fleet.inventory_place import PLACE, VARIABLE, inventory_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.deploy.events import Recap

LOGS_KEPT = 20
#: The task of the role that a node comes to when all is well.
GOAL = "The node serves"

Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help=f"Ansible's inventory (default: ${VARIABLE}, else ~/{PLACE}).",
        show_default=False,
    ),
]
Limit = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Only these of its hosts.")
]
Forks = Annotated[
    int | None, typer.Option(min=1, help="How many hosts at a time (default: 5).")
]


def find_inventory(given: Path | None) -> Path:
    place = inventory_place(given, os.environ, Path.home())
    if given is None and not place.exists():
        raise InputError(
            "no inventory: make one with `edgectl fleet init` and"
            " `edgectl fleet add NAME`, or give -i FILE"
        )
    return place.absolute()


def run_playbook(
    out: Output,
    playbook: str,
    *,
    inventory: Path,
    variables: Mapping[str, Any],
    told: str,
    limit: str | None = None,
    forks: int | None = None,
    check: bool = False,
    diff: bool = False,
    then: Callable[[Recap], Recap] | None = None,
) -> None:
    """Run it, show it, and end as it ended; `told` is what was done, for a person.

    `then` is what follows on the hosts that are well; it gives the recap of all.
    """
    from controller.cli.deploy_progress import Progress
    from controller.deploy.playbook import Run, environment_for, play

    environ = environment_for(os.environ)
    run = Run(
        playbook=playbook,
        inventory=inventory,
        hosts=hosts_of_run(inventory, limit, environ),
        log=_new_log(),
        variables=variables,
        limit=limit,
        forks=forks,
        check=check,
        diff=diff,
        goal=GOAL,
    )
    out.say(f"{told}: {len(run.hosts)} host(s), log: {run.log}")
    with Progress() as progress:
        recap = play(run, progress.show, environ)
    if then is not None:
        recap = then(recap)
    _end(out, recap, run.log, f"{told}{' (check only)' if check else ''}")


def hosts_of_run(
    place: Path, limit: str | None, environ: Mapping[str, str]
) -> list[str]:
    from controller.deploy.check import hosts_of
    from controller.fleet.inventory_place import InventoryError

    try:
        return hosts_of(place, limit=limit, environ=environ)
    except InventoryError as error:
        raise InputError(str(error)) from error


def _new_log() -> Path:
    """A file for this run; the oldest beyond `LOGS_KEPT` go."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = state / "edgewhisk"
    for old in sorted(folder.glob("deploy-*.log"))[: -LOGS_KEPT + 1]:
        old.unlink(missing_ok=True)
    now = time.strftime("%Y%m%d-%H%M%S")
    return folder / f"deploy-{now}-{os.getpid()}.log"


def _end(out: Output, recap: Recap, log: Path, what: str) -> None:
    out.table(
        ("HOST", "OK", "CHANGED", "FAILED", "UNREACHABLE", "REASON"),
        _rows(recap),
        document={"hosts": recap.hosts, "log": str(log)},
    )
    bad = [name for name, host in recap.hosts.items() if not host.well]
    if bad:
        raise Failed(
            f"{len(bad)} of {len(recap.hosts)} hosts: {', '.join(bad)};"
            f" mend and run it again (log: {log})"
        )
    out.ok(f"{what} on {', '.join(recap.hosts)}")


def _rows(recap: Recap) -> Sequence[Sequence[str]]:
    return [
        (
            name,
            str(host.ok),
            str(host.changed),
            str(host.failed),
            str(host.unreachable),
            host.reason or "",
        )
        for name, host in recap.hosts.items()
    ]
