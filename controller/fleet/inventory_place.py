"""Where the fleet's inventory is, and what is raised when it cannot be used.

Apart from reading it: every command knows the place, and YAML takes 20 ms to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from edge_agent.model.errors import EdgeWhiskError

#: The one documented place, below the user's home.
PLACE = ".config/edgewhisk/inventory.yaml"
VARIABLE = "EDGEWHISK_INVENTORY"


class InventoryError(EdgeWhiskError):
    """The inventory cannot be used; the text is one line with file, place and fix."""

    exit_code: ClassVar[int] = 2


def no_inventory(path: Path) -> InventoryError:
    return InventoryError(
        f"{path}: no such file; give -i INVENTORY, or make one: edgectl fleet init"
    )


def inventory_place(given: Path | None, environ: Mapping[str, str], home: Path) -> Path:
    """`given`, else `$EDGEWHISK_INVENTORY`, else `~/.config/edgewhisk/...`."""
    if given is not None:
        return given
    named = environ.get(VARIABLE)
    return Path(named).expanduser() if named else home / PLACE
