"""`edgectl fleet discover`: which machines nearby are nodes, or could be."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import with_output
from controller.cli.errors import Failed, InputError
from controller.cli.output import Output, on_terminal
from controller.fleet.inventory_place import PLACE, inventory_place

if TYPE_CHECKING:
    from controller.fleet.discover import Found
    from controller.fleet.inventory_file import InventoryFile


@with_output
def discover(
    out: Output,
    inventory: Annotated[
        Path | None,
        typer.Option(
            "--fleet",
            "-i",
            metavar="INVENTORY",
            help=f"Default: $EDGEWHISK_INVENTORY, else ~/{PLACE}.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.5, max=60, help="How long to listen.")
    ] = 3.0,
    add: Annotated[
        bool,
        typer.Option(
            "--add", help="Put what is found into the inventory, asking first."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: put in all that is new.")
    ] = False,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Ask from this address of ours. Repeatable."
        ),
    ] = None,
) -> None:
    """Look for agents (by mDNS) and fresh Raspberry Pis (by name and neighbours)."""
    from controller.fleet.discover import discover as look

    place = inventory_place(inventory, os.environ, Path.home())
    if add and not yes and not on_terminal(sys.stdin):
        raise InputError("--add asks which; without a terminal give --yes as well")
    out.say(f"listening for {seconds:g} s")
    try:
        found = asyncio.run(look(seconds=seconds, interfaces=interface))
    except OSError as error:
        raise Failed(f"cannot listen for mDNS: {error.strerror or error}") from error
    known = _known(place)
    rows = [_document(one, known) for one in found]
    added = _add(place, found, known, ask=not yes) if add else []
    out.table(
        ("name", "kind", "address", "port", "version", "inventory"),
        [_row(one, known) for one in found],
        document={"found": rows, "added": added},
    )
    if not found:
        out.say("nothing found; a Pi must be in this network and have SSH switched on")
    for name in added:
        out.ok(f"{name} is in the inventory")


def _known(place: Path) -> dict[str, str]:
    """Address -> name of what the inventory has."""
    from controller.fleet.inventory import read_hosts

    if not place.exists():
        return {}
    hosts = read_hosts(place)
    return {
        str(host.variables.get("ansible_host") or host.name): host.name
        for host in hosts
    }


def _add(
    place: Path, found: Sequence[Found], known: dict[str, str], *, ask: bool
) -> list[str]:
    from controller.fleet.inventory_file import InventoryFile, new_inventory

    if not place.exists():
        new_inventory(place, user="pi")
    file = InventoryFile.open(place)
    added = []
    for one in found:
        if one.address in known:
            continue
        if ask and not typer.confirm(f"add {one.name} ({one.address})?", err=True):
            continue
        added.append(_put(file, one))
    if added:
        file.save()
    return added


def _put(file: InventoryFile, one: Found) -> str:
    """Under a name that is free."""
    name, number = one.name, 1
    while name in file.hosts:
        number += 1
        name = f"{one.name}-{number}"
    variables: dict[str, Any] = {"ansible_host": one.address}
    if one.kind == "agent":
        variables |= {"edge_agent_scheme": one.scheme, "edge_agent_port": one.port}
    file.add(name, variables)
    return name


def _row(one: Found, known: dict[str, str]) -> tuple[str, ...]:
    what = "agent" if one.kind == "agent" else "fresh Raspberry Pi"
    there = known.get(one.address, "")
    return (one.name, what, one.address, str(one.port), one.version, there)


def _document(one: Found, known: dict[str, str]) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "address": one.address,
        "port": one.port,
        "scheme": one.scheme or None,
        "version": one.version or None,
        "inventory": known.get(one.address),
    }
