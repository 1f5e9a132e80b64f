"""`edgectl rotate keys|certificates`: replace what a fleet's nodes are known by."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import with_output
from controller.cli.deploy import BATCH, Wheelhouse
from controller.cli.output import Output
from controller.cli.play import Inventory, find_inventory, hosts_of_run, run_playbook

if TYPE_CHECKING:
    from pathlib import Path

app = typer.Typer(
    help="Replace keys or certificates, node by node.", no_args_is_help=True
)
Finish = Annotated[
    bool, typer.Option("--finish", help="The former keys open no longer.")
]


@app.command("keys")
@with_output
def keys(
    out: Output,
    *,
    inventory: Inventory = None,
    wheelhouse: Wheelhouse = None,
    finish: Finish = False,
) -> None:
    """Give the fleet and each node new keys; the former ones open until --finish.

    In between, hand the new key to whoever calls: `edgectl` has it from the inventory.
    """
    from controller.deploy.rotation import drop_former_keys, renew_keys

    place, folder, hosts = _fleet(inventory)
    change = drop_former_keys if finish else renew_keys
    change(folder, hosts)
    told = "dropping the former keys" if finish else "bringing new keys"
    _deploy(out, place, wheelhouse, told)
    if not finish:
        out.hint("once every caller has the new key: edgectl rotate keys --finish")


@app.command("certificates")
@with_output
def certificates(
    out: Output, *, inventory: Inventory = None, wheelhouse: Wheelhouse = None
) -> None:
    """Give each node a new certificate, by the same authority; nothing restarts."""
    from controller.deploy.rotation import renew_certificates

    place, folder, hosts = _fleet(inventory)
    renew_certificates(folder, hosts)
    _deploy(out, place, wheelhouse, "bringing new certificates")


def _fleet(inventory: Path | None) -> tuple[Path, Path, list[str]]:
    from controller.deploy.playbook import environment_for

    place = find_inventory(inventory)
    hosts = hosts_of_run(place, None, environment_for(os.environ))
    return place, place if place.is_dir() else place.parent, hosts


def _deploy(out: Output, place: Path, wheelhouse: Path | None, told: str) -> None:
    from pathlib import Path

    from controller.deploy.release import make_release

    with TemporaryDirectory(prefix="edgewhisk-") as temporary:
        release = make_release(Path(temporary))
        run_playbook(
            out,
            "site",
            inventory=place,
            variables={
                **release.variables(wheelhouse and wheelhouse.absolute()),
                "edge_agent_batches": [1, BATCH],
            },
            told=told,
        )
