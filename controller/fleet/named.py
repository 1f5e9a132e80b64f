"""Targets by name: hosts of the inventory, local nodes, and `targets.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.fleet.entries import PLACE, read_entries
from controller.fleet.inventory_place import inventory_place
from controller.fleet.local_state import local_dir
from controller.fleet.target import (
    Choice,
    Target,
    TargetError,
    choose,
    target_of_entry,
)


def find_named(
    name: str, choice: Choice, *, environ: Mapping[str, str], home: Path
) -> Target:
    """The target of that name: where `choice` says, else anywhere it may be.

    Raises:
        TargetError: there is none; the text names those there are.
    """
    if choice.fleet or choice.dir or choice.url:
        places = [choice]
    else:
        places = _places(environ, home)
    entries = read_entries(home / PLACE) if places != [choice] else {}
    if name in entries:
        return target_of_entry(name, entries[name], home / PLACE)
    known = list(entries)
    for place in places:
        targets = choose(place, environ=environ, home=home).targets
        known += [target.name for target in targets]
        found = next((t for t in targets if t.name == name), None)
        if found is not None:
            return found
    raise TargetError(f"no target '{name}'; there are: {', '.join(known) or 'none'}")


def _places(environ: Mapping[str, str], home: Path) -> list[Choice]:
    """The inventory and the local fleet, as far as they are there."""
    inventory = inventory_place(None, environ, home)
    found = [Choice(fleet=inventory)] if inventory.exists() else []
    local = local_dir(environ, home)
    return [*found, Choice(dir=local)] if (local / "fleet.json").exists() else found
