"""The fleet's desired state: what was applied, kept for nodes that come later.

A copy beside the inventory, everything resolved: code, inputs, the values of variables.
It may hold secrets, so it is its owner's alone. One entry for each project.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec

from controller.fleet.local_state import STATE_FILE
from controller.fleet.private import write_private
from controller.manifest.desired import Desired
from edge_agent.model.errors import EdgeWhiskError

ENDING = ".desired.json"


class KeptError(EdgeWhiskError):
    """The kept state cannot be used."""

    exit_code: ClassVar[int] = 2


def place_of(source: Path) -> Path:
    """`inventory.yaml` -> `inventory.desired.json`.

    Beside an inventory that is a folder, never in it: Ansible would read it. A local
    fleet's is in its folder.
    """
    path = source.absolute()
    if (path / STATE_FILE).exists():
        return path / f"fleet{ENDING}"
    return path.parent / f"{path.name if path.is_dir() else path.stem}{ENDING}"


def read_kept(place: Path) -> list[Desired]:
    """What was applied last of each project; nothing when nothing was.

    Raises:
        KeptError: the file is broken.
    """
    try:
        return msgspec.json.decode(place.read_bytes(), type=list[Desired])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeptError(
            f"{place}: cannot be read: {error}; apply the manifests again with -f"
        ) from error


def keep(place: Path, desired: Desired) -> None:
    """In place of the project's former state; an empty project is forgotten."""
    try:
        kept = read_kept(place)
    except KeptError:
        kept = []
    kept = [one for one in kept if one.project != desired.project]
    if desired.entities:
        kept.append(desired)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = msgspec.json.format(msgspec.json.encode(kept), indent=1)
    write_private(place, text.decode() + "\n")
