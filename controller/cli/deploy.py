"""`edgectl deploy` and `edgectl remove`: our agent on every host of an inventory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from controller.cli.call import with_output
from controller.cli.errors import InputError
from controller.cli.output import Output
from controller.cli.play import Forks, Inventory, Limit, find_inventory, run_playbook

#: After the first batch, so much of the fleet at a time.
BATCH = "25%"

Check = Annotated[
    bool, typer.Option("--check", help="Say what would change, change nothing.")
]
Diff = Annotated[
    bool, typer.Option("--diff", help="Show the lines of files that change.")
]
Canary = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="So many nodes switch first; the others only if those are well.",
    ),
]
Wheelhouse = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="What `edgectl bundle` made, or wheels: nodes then need no network.",
    ),
]
Rollback = Annotated[
    bool,
    typer.Option("--rollback", help="Go back to the release that ran before."),
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
    canary: Canary = 1,
    wheelhouse: Wheelhouse = None,
    rollback: Rollback = False,
) -> None:
    """Install the agent on every host of an inventory and start it.

    A second run changes nothing, and a run after one that broke off ends it. First one
    node switches, then the others a quarter at a time; each has to answer a warm
    invocation through TLS. A batch that does not goes back to what ran before, and the
    rest is left as it is.

    The hosts need SSH, sudo and Python 3.11. Keys, certificates and the fleet's
    authority are kept beside the inventory: group_vars/, host_vars/ and pki/.
    """
    place = find_inventory(inventory)
    batches = {"edge_agent_batches": [canary, BATCH]}
    if rollback:
        if check or wheelhouse:
            raise InputError("--rollback goes with neither --check nor --wheelhouse")
        run_playbook(
            out,
            "rollback",
            inventory=place,
            variables=batches,
            told="going back to the release before",
            limit=limit,
            forks=forks,
        )
        return
    from controller.deploy.release import make_release

    wheels = _wheelhouse(wheelhouse)
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        release = make_release(Path(folder))
        run_playbook(
            out,
            "site",
            inventory=place,
            variables={**release.variables(wheels), **batches},
            told=f"deploying {release.name}",
            limit=limit,
            forks=forks,
            check=check,
            diff=diff,
        )


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
KeepData = Annotated[
    bool,
    typer.Option("--keep-data", help="Leave /var/lib/edgewhisk: actions, events, all."),
]


@with_output
def remove(
    out: Output,
    *,
    inventory: Inventory = None,
    limit: Limit = None,
    forks: Forks = None,
    keep_data: KeepData = False,
    yes: Yes = False,
) -> None:
    """Remove the agent from the hosts of an inventory, data and user included.

    It leaves the system packages that were installed with it (apt knows them), and on
    this machine the inventory with keys and certificates.
    """
    place = find_inventory(inventory)
    what = "the agent" if keep_data else "the agent and its data"
    if not yes and not typer.confirm(f"Remove {what} from the hosts of {place}?"):
        raise typer.Exit(1)
    run_playbook(
        out,
        "remove",
        inventory=place,
        variables={"edge_agent_keep_data": keep_data},
        told=f"removing {what}",
        limit=limit,
        forks=forks,
    )


def _wheelhouse(given: Path | None) -> Path | None:
    if given is not None and not any(given.glob("*.whl")):
        raise InputError(
            f"--wheelhouse {given}: no wheels there; fill it with"
            f" `edgectl bundle --out {given}`"
        )
    return None if given is None else given.absolute()
