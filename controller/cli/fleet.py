"""`edgectl fleet init|add|remove|list|status|discover`: the nodes, as an inventory."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.cli.call import with_output
from controller.cli.errors import InputError
from controller.cli.fleet_discover import discover
from controller.cli.fleet_status import status
from controller.cli.output import Output
from controller.cli.pairs import value_of
from controller.fleet.inventory_place import PLACE, inventory_place

app = typer.Typer(
    help="The nodes: an Ansible inventory that you may edit by hand.",
    no_args_is_help=True,
)
Inventory = Annotated[
    Path | None,
    typer.Option(
        "--fleet",
        "-i",
        metavar="INVENTORY",
        help=f"Default: $EDGEWHISK_INVENTORY, else ~/{PLACE}.",
        show_default=False,
    ),
]
app.command("status")(status)
app.command("discover")(discover)
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:-]*[A-Za-z0-9_])?")


@app.command("init")
@with_output
def init(
    out: Output,
    inventory: Inventory = None,
    user: Annotated[
        str, typer.Option(help="Who logs in to the nodes over SSH; needs sudo.")
    ] = "pi",
) -> None:
    """Write the first inventory, with comments that say how to go on."""
    from controller.fleet.inventory_file import new_inventory

    place = _place(inventory)
    new_inventory(place, user=user)
    out.ok(f"wrote {place}")
    out.hint("next: edgectl fleet discover --add, or: edgectl fleet add NAME ADDRESS")
    if out.json:
        out.document({"inventory": str(place)})


@app.command("add")
@with_output
def add(
    out: Output,
    name: Annotated[str, typer.Argument(help="What the node is called here.")],
    address: Annotated[
        str | None, typer.Argument(help="Its address, where its name is none.")
    ] = None,
    inventory: Inventory = None,
    group: Annotated[str, typer.Option(help="The group it goes into.")] = "all",
    user: Annotated[str | None, typer.Option(help="ansible_user of this one.")] = None,
    ssh_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="ansible_port.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="edge_agent_port.")
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Any other variable. Repeatable."),
    ] = None,
) -> None:
    """Put a node into the inventory, or change what stands there for it."""
    from controller.fleet.inventory_file import InventoryFile

    _check_name(name)
    file = InventoryFile.open(_place(inventory))
    given = {
        "ansible_host": address,
        "ansible_user": user,
        "ansible_port": ssh_port,
        "edge_agent_port": port,
    }
    variables = {k: v for k, v in given.items() if v is not None} | _variables(var)
    changed = file.add(name, variables, group=group)
    if changed:
        file.save()
    out.ok(f"{name} is in the inventory" if changed else f"{name} was there already")
    if out.json:
        out.document({"name": name, "changed": changed})


@app.command("remove")
@with_output
def remove(
    out: Output,
    name: Annotated[str, typer.Argument(help="The node.")],
    inventory: Inventory = None,
) -> None:
    """Take a node out of the inventory; the node itself goes on (`edgectl remove`).

    Its keys in host_vars stay: they open it as long as it runs.
    """
    from controller.fleet.inventory_file import InventoryFile

    place = _place(inventory)
    file = InventoryFile.open(place)
    if not file.remove(name):
        known = ", ".join(file.hosts) or "none"
        raise InputError(f"{place}: no host '{name}'; there are: {known}")
    file.save()
    out.ok(f"{name} is no longer in the inventory")
    if out.json:
        out.document({"name": name, "changed": True})


@app.command("list")
@with_output
def list_nodes(out: Output, inventory: Inventory = None) -> None:
    """Show the nodes of the inventory: address, groups, whether a key is known."""
    from controller.fleet.inventory import read_inventory

    nodes = read_inventory(_place(inventory))
    rows: list[dict[str, Any]] = [
        {
            "name": node.name,
            "url": node.url,
            "groups": node.groups,
            "key": node.key is not None,
            "system_key": node.system_key is not None,
        }
        for node in nodes
    ]
    out.table(
        ("node", "url", "groups", "keys"),
        [
            (
                node.name,
                node.url,
                ", ".join(node.groups),
                "yes" if node.key else "not yet: edgectl deploy",
            )
            for node in nodes
        ],
        document=rows,
    )


def _place(given: Path | None) -> Path:
    return inventory_place(given, os.environ, Path.home())


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"'{name}' cannot be a host's name; letters, digits, - . and _ can"
        )


def _variables(pairs: list[str] | None) -> dict[str, Any]:
    found = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--var takes NAME=VALUE, not '{pair}'")
        found[name] = value_of(text)
    return found
