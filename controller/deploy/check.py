"""Is this an inventory, and which hosts does it name? Asked before anything runs.

Ansible goes on with what it could read of a broken inventory and then says that no
host matched. Here a YAML inventory's form is looked at first, since only the parsed
file knows the line; everything else is Ansible's own judgement (`ansible-inventory`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from controller.fleet.inventory import InventoryError

CHECK_TIMEOUT_S = 60
YAML_ENDINGS = {".yaml", ".yml"}
PARTS_OF_GROUP = ("hosts", "vars", "children")


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
    if inventory.is_file() and inventory.suffix in YAML_ENDINGS:
        check_yaml(inventory)
    hosts = _ask_ansible(inventory, limit, environ)
    if not hosts and limit:
        raise InventoryError(f"{inventory}: --limit {limit} matches none of its hosts")
    if not hosts:
        raise InventoryError(
            f"{inventory}: no hosts; write them as `all: {{hosts: {{NAME: ...}}}}`"
        )
    return hosts


def check_yaml(path: Path) -> None:
    """Find the first thing that is not as an inventory has it.

    Raises:
        InventoryError: with file, line and fix.
    """
    try:
        text = path.read_text()
        document = yaml.compose(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InventoryError(
            f"{path}:{line}: not YAML ({error.problem}); look at the indentation,"
            " colons and quotes of this line and the one above"
        ) from error
    except yaml.YAMLError as error:
        raise InventoryError(f"{path}: not YAML: {error}") from error
    if document is None:
        raise InventoryError(f"{path}:1: empty; begin with `all:` and its `hosts:`")
    for group, body in _pairs(document, path, "an inventory", "NAME_OF_GROUP:"):
        _check_group(group.value, body, path)


def _check_group(name: str, body: yaml.Node, path: Path) -> None:
    for part, node in _pairs(body, path, f"group '{name}'", "hosts:"):
        if part.value not in PARTS_OF_GROUP:
            raise InventoryError(
                f"{path}:{_line(part)}: group '{name}' has '{part.value}'; a group has"
                " only hosts, vars and children (a host goes below hosts:)"
            )
        for key, value in _pairs(node, path, f"{part.value} of '{name}'", "NAME:"):
            if part.value == "hosts":
                list(_pairs(value, path, f"host '{key.value}'", "VARIABLE: VALUE"))
            elif part.value == "children":
                _check_group(key.value, value, path)


def _pairs(
    node: yaml.Node, path: Path, what: str, form: str
) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values of a mapping; nothing for an empty value."""
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
        return
    if not isinstance(node, yaml.MappingNode):
        raise InventoryError(
            f"{path}:{_line(node)}: {what} is not a mapping; write `{form}`"
            " with a colon, one a line, without a dash"
        )
    for key, value in node.value:
        if not key.tag.endswith(":str"):
            raise InventoryError(
                f"{path}:{_line(key)}: YAML does not read the name {key.value} as"
                f' text; write "{key.value}":'
            )
        yield key, value


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


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
    said = re.findall(rf"with '{plugin}' plugin: (.+)", stderr)
    said += re.findall(r"^\[ERROR\]: (.+)", stderr, re.MULTILINE)
    origin = place.group(1) if place else str(inventory)
    origin = origin if origin.startswith(str(inventory)) else str(inventory)
    return f"{origin}: {said[0] if said else ' '.join(stderr.split())}"
