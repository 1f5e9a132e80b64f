"""Is this an inventory, and which hosts does it name? Asked before anything runs.

Ansible goes on with what it could read of a broken inventory and then says that no
host matched. Here a YAML inventory's form is looked at first, since only the parsed
file knows the line; everything else is Ansible's own judgement (`ansible-inventory`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from controller.fleet.inventory import YAML_ENDINGS
from controller.fleet.inventory_form import check_variables, check_yaml
from controller.fleet.inventory_place import InventoryError

CHECK_TIMEOUT_S = 60
VARIABLES_ENDINGS = {"", ".json", *YAML_ENDINGS}


def hosts_of(
    inventory: Path, *, limit: str | None, environ: Mapping[str, str]
) -> list[str]:
    """The hosts that a run would reach, in the inventory's order.

    Raises:
        InventoryError: it cannot be read, is not an inventory, or leaves no host; the
            text is one line with file, line where known, and what to do.
    """
    if not inventory.exists():
        raise InventoryError(f"{inventory}: no such file; give -i INVENTORY")
    _check_files(inventory)
    hosts = _ask_ansible(inventory, limit, environ)
    if not hosts and limit:
        raise InventoryError(f"{inventory}: --limit {limit} matches none of its hosts")
    if not hosts:
        raise InventoryError(
            f"{inventory}: no hosts; write them as `all: {{hosts: {{NAME: ...}}}}`"
        )
    return hosts


def _check_files(inventory: Path) -> None:
    """The inventory's own files in YAML, and those of its variables."""
    folder = inventory if inventory.is_dir() else inventory.parent
    own = sorted(folder.iterdir()) if inventory.is_dir() else [inventory]
    for file in own:
        if file.is_file() and file.suffix in YAML_ENDINGS:
            check_yaml(file)
    for kind in ("group_vars", "host_vars"):
        for file in sorted((folder / kind).rglob("*")):
            if file.is_file() and file.suffix in VARIABLES_ENDINGS and _is_read(file):
                check_variables(file)


def _is_read(file: Path) -> bool:
    """Ansible passes over hidden files and what editors leave."""
    return not file.name.startswith(".") and not file.name.endswith("~")


def _ask_ansible(
    inventory: Path, limit: str | None, environ: Mapping[str, str]
) -> list[str]:
    """Let Ansible list the hosts: its formats, patterns and vaults are its own."""
    command = [sys.executable, "-m", "ansible", "adhoc", "-i", str(inventory)]
    command += ["all", "--list-hosts", *(["--limit", limit] if limit else [])]
    outcome = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_TIMEOUT_S,
        env={**environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
    )
    if outcome.returncode and "leaves us with no hosts" in outcome.stderr:
        return []
    if outcome.returncode:
        raise InventoryError(_first_error(inventory, outcome.stderr))
    _heading, *names = outcome.stdout.splitlines()
    return [name.strip() for name in names]


def _first_error(inventory: Path, stderr: str) -> str:
    """Ansible's own words, without what it says around them."""
    place = re.search(r"^Origin: (\S+)", stderr, re.MULTILINE)
    plugin = "yaml" if inventory.suffix in YAML_ENDINGS else "ini"
    plugin = "script" if os.access(inventory, os.X_OK) else plugin
    said = re.findall(rf"with '{plugin}' plugin: (.+)", stderr)
    said += re.findall(r"^\[ERROR\]: (.+)", stderr, re.MULTILINE)
    origin = place.group(1) if place else str(inventory)
    origin = origin if origin.startswith(str(inventory)) else str(inventory)
    return f"{origin}: {said[0] if said else ' '.join(stderr.split())}"
