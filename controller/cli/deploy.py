"""`edgectl deploy`: our agent on every host of an inventory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import with_output
from controller.cli.errors import Failed, InputError
from controller.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.deploy.events import Recap

INVENTORY = "~/.config/edgewhisk/inventory.yaml"
LOGS_KEPT = 20


Inventory = Annotated[
    Path | None,
    typer.Option(
        "-i",
        "--inventory",
        metavar="INVENTORY",
        help=f"Ansible's inventory (default: {INVENTORY}).",
        show_default=False,
    ),
]
Limit = Annotated[
    str | None, typer.Option(metavar="PATTERN", help="Only these of its hosts.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Say what would change, change nothing.")
]
Diff = Annotated[
    bool, typer.Option("--diff", help="Show the lines of files that change.")
]
Forks = Annotated[
    int | None, typer.Option(min=1, help="How many hosts at a time (default: 5).")
]
Wheelhouse = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Wheels to bring along: nodes then need no network."
    ),
]


@with_output
def deploy(
    out: Output,
    *,
    inventory: Inventory = None,
    limit: Limit = None,
    check: Check = False,
    diff: Diff = False,
    forks: Forks = None,
    wheelhouse: Wheelhouse = None,
) -> None:
    """Install the agent on every host of an inventory and start it.

    A second run changes nothing. The hosts need SSH, sudo and Python 3.11; their keys
    are kept beside the inventory, in host_vars/HOST/edge_agent.yaml.
    """
    from controller.cli.deploy_progress import Progress
    from controller.deploy.playbook import Run, environment_for, play
    from controller.deploy.release import make_release

    place = _inventory(inventory)
    wheels = _wheelhouse(wheelhouse)
    environ = environment_for(os.environ)
    hosts = _hosts(place, limit, environ)
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        release = make_release(Path(folder))
        run = Run(
            playbook="site",
            inventory=place,
            hosts=hosts,
            log=_new_log(),
            variables=release.variables(wheels),
            limit=limit,
            check=check,
            diff=diff,
            forks=forks,
        )
        out.say(f"deploying {release.name} to {len(hosts)} host(s), log: {run.log}")
        with Progress() as progress:
            recap = play(run, progress.show, environ)
    _end(out, recap, run.log, f"{release.name}{' (check only)' if check else ''}")


def _hosts(place: Path, limit: str | None, environ: Mapping[str, str]) -> list[str]:
    from controller.deploy.check import hosts_of
    from controller.fleet.inventory import InventoryError

    try:
        return hosts_of(place, limit=limit, environ=environ)
    except InventoryError as error:
        raise InputError(str(error)) from error


def _inventory(given: Path | None) -> Path:
    usual = Path(INVENTORY).expanduser()
    if given is None and not usual.exists():
        raise InputError(
            f"no inventory: give -i FILE, or write {INVENTORY}, for example"
            " `all: {hosts: {attic: {ansible_host: 192.0.2.11, ansible_user: pi}}}`"
        )
    return (given or usual).absolute()


def _wheelhouse(given: Path | None) -> Path | None:
    if given is not None and not any(given.glob("*.whl")):
        raise InputError(
            f"--wheelhouse {given}: no wheels there; fill it with"
            f" `pip download -d {given} -c constraints.txt '.[agent]'` in a checkout"
        )
    return None if given is None else given.absolute()


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
