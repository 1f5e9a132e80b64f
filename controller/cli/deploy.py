"""`edgectl deploy` and `edgectl remove`: our agent on every host of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import with_output
from controller.cli.engines import (
    Ask,
    Engine,
    EngineOption,
    On,
    Var,
    VarFile,
    absolute,
    deploy_engine,
    remove_engine,
    variables_of,
)
from controller.cli.errors import InputError
from controller.cli.output import Output
from controller.cli.play import Forks, Inventory, Limit, find_inventory, run_playbook

if TYPE_CHECKING:
    from controller.deploy.events import Recap

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
    engine: EngineOption = Engine.EDGE,
    on: On = None,
    var: Var = None,
    var_file: VarFile = None,
) -> None:
    """Install the agent on every host of an inventory and start it.

    A second run changes nothing, and a run after one that broke off ends it. First one
    node switches, then the others a quarter at a time; each has to answer a warm
    invocation through TLS. A batch that does not goes back to what ran before, and the
    rest is left as it is. In the end each node has what `edgectl apply` was given.

    The hosts need SSH, sudo and Python 3.11. Keys, certificates and the fleet's
    authority are kept beside the inventory: group_vars/, host_vars/ and pki/.

    `--engine lean` and `--engine openwhisk --on kubernetes` deploy upstream's engines,
    as the variables of the roles openwhisk_lean and openwhisk say; each is a target.
    """
    ask = Ask(
        engine=engine,
        on=on,
        inventory=inventory,
        limit=limit,
        forks=forks,
        check=check,
        diff=diff,
        variables=variables_of(var, var_file),
    )
    if rollback and (check or wheelhouse):
        raise InputError("--rollback goes with neither --check nor --wheelhouse")
    if not ask.is_ours and (rollback or wheelhouse):
        raise InputError("--rollback and --wheelhouse go with --engine edge only")
    batches = {"edge_agent_batches": [canary, BATCH]}
    if not ask.is_ours:
        deploy_engine(out, ask)
    elif rollback:
        _play(out, ask, "rollback", batches, "going back to the release before")
    else:
        _roll_out(out, ask, _wheelhouse(wheelhouse), batches)


def _roll_out(
    out: Output, ask: Ask, wheels: Path | None, batches: Mapping[str, Any]
) -> None:
    from controller.deploy.desired import bring_desired
    from controller.deploy.release import make_release

    place = find_inventory(ask.inventory)  # before a wheel is built
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        release = make_release(Path(folder))
        variables = {**release.variables(wheels), **batches}
        _play(
            out,
            ask,
            "site",
            variables,
            f"deploying {release.name}",
            then=None if ask.check else partial(bring_desired, place, out.say),
        )


def _play(
    out: Output,
    ask: Ask,
    playbook: str,
    variables: Mapping[str, Any],
    told: str,
    *,
    then: Callable[[Recap], Recap] | None = None,
) -> None:
    run_playbook(
        out,
        playbook,
        inventory=find_inventory(ask.inventory),
        variables={**absolute(ask.variables), **variables},
        told=told,
        limit=ask.limit,
        forks=ask.forks,
        check=ask.check,
        diff=ask.diff,
        then=then,
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
    engine: EngineOption = Engine.EDGE,
    on: On = None,
    var: Var = None,
    var_file: VarFile = None,
) -> None:
    """Remove the agent from the hosts of an inventory, data and user included.

    It leaves the system packages that were installed with it (apt knows them;
    mosquitto as Debian sets it up, with what it stored), a Raspberry Pi's memory
    control group as it is, and on this machine the inventory with keys and
    certificates.
    """
    ask = Ask(
        engine=engine,
        on=on,
        inventory=inventory,
        limit=limit,
        forks=forks,
        variables=variables_of(var, var_file),
    )
    if not ask.is_ours:
        if keep_data:
            raise InputError("--keep-data goes with --engine edge only")
        if not yes and not typer.confirm(f"Remove the engine {engine} and its data?"):
            raise typer.Exit(1)
        remove_engine(out, ask)
        return
    place = find_inventory(inventory)
    what = "the agent" if keep_data else "the agent and its data"
    if not yes and not typer.confirm(f"Remove {what} from the hosts of {place}?"):
        raise typer.Exit(1)
    _play(out, ask, "remove", {"edge_agent_keep_data": keep_data}, f"removing {what}")


def _wheelhouse(given: Path | None) -> Path | None:
    if given is not None and not any(given.glob("*.whl")):
        raise InputError(
            f"--wheelhouse {given}: no wheels there; fill it with"
            f" `edgectl bundle --out {given}`"
        )
    return None if given is None else given.absolute()
