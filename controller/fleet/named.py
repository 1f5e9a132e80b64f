"""Targets by name: hosts of the inventory, local nodes, and `targets.toml`.

`~/.config/edgewhisk/targets.toml` holds what no inventory does, for example a cluster:

    [cluster]
    apihost = "https://openwhisk.example"
    auth = "uuid:key"
    namespace = "_"         # as this and the next are by default
    insecure = false
    ca = "/path/to/ca.pem"  # to trust beside the system's
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from controller.fleet.inventory_place import inventory_place
from controller.fleet.local_state import local_dir
from controller.fleet.target import (
    Choice,
    Target,
    TargetError,
    api_url,
    check_key,
    choose,
)
from edge_agent.model.names import OWN_NAMESPACE

PLACE = ".config/edgewhisk/targets.toml"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    apihost: str
    auth: str
    namespace: str = OWN_NAMESPACE
    insecure: bool = False
    ca: str = ""


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
    entries = _entries(home / PLACE) if places != [choice] else {}
    if name in entries:
        return _target(name, entries[name], home / PLACE)
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


def _entries(path: Path) -> dict[str, Entry]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), dict[str, Entry])
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from error
    except msgspec.ValidationError as error:
        raise TargetError(f"{path}: {error}") from error


def _target(name: str, entry: Entry, path: Path) -> Target:
    return Target(
        url=api_url(entry.apihost),
        key=check_key(entry.auth, source=f"{path}: auth of [{name}]"),
        name=name,
        insecure=entry.insecure,
        ca=Path(entry.ca).expanduser() if entry.ca else None,
        namespace=entry.namespace,
    )
