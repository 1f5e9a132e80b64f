"""What an inventory in YAML must look like, told with file, line and fix.

Ansible goes on with what it could read of a broken inventory and then says that no
host matched. Here the form is looked at first: only the parsed file knows the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from controller.fleet.inventory_place import InventoryError, no_inventory

PARTS_OF_GROUP = ("hosts", "vars", "children")
VAULT = "$ANSIBLE_VAULT"


class Encrypted:
    """A value that only Ansible can read: it has the vault's password."""

    def __repr__(self) -> str:
        return "(encrypted)"


ENCRYPTED = Encrypted()


class _Loader(yaml.SafeLoader):
    """YAML with Ansible's own tags."""


_Loader.add_constructor("!vault", lambda _, __: ENCRYPTED)
_Loader.add_constructor("!vault-encrypted", lambda _, __: ENCRYPTED)
_Loader.add_constructor("!unsafe", lambda _, node: str(node.value))


def load_yaml(path: Path) -> Any:
    """The file's document, encrypted values as `ENCRYPTED`.

    Raises:
        InventoryError: it cannot be read or is not YAML.
    """
    with _told(path):
        return yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 a safe loader


def check_yaml(path: Path) -> None:
    """Find the first thing that is not as an inventory has it.

    Raises:
        InventoryError: with file, line and fix.
    """
    with _told(path):
        document = yaml.compose(path.read_text())
    if document is None:
        raise InventoryError(f"{path}:1: empty; begin with `all:` and its `hosts:`")
    for group, body in _pairs(document, path, "an inventory", "NAME_OF_GROUP:"):
        _check_group(group.value, body, path)


def check_variables(path: Path) -> None:
    """Find out whether a file of variables is one; what is encrypted is Ansible's.

    Raises:
        InventoryError: with file, line and fix.
    """
    with _told(path):
        text = path.read_text()
        document = None if text.startswith(VAULT) else yaml.compose(text)
    if document is not None:
        list(_pairs(document, path, "a file of variables", "VARIABLE: VALUE"))
        load_yaml(path)  # a template without quotes is read as a mapping of mappings


class _told:  # noqa: N801 reads as a word
    """Turns what reading and parsing raise into one line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        path = self._path
        if isinstance(error, FileNotFoundError):
            raise no_inventory(path) from error
        if isinstance(error, OSError | UnicodeDecodeError):
            raise InventoryError(f"{path}: cannot be read: {error}") from error
        if isinstance(error, yaml.MarkedYAMLError):
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise InventoryError(
                f"{path}:{line}: not YAML ({error.problem}); look at the indentation,"
                " colons and quotes of this line and the one above"
            ) from error
        if isinstance(error, yaml.YAMLError):
            text = " ".join(str(error).split())
            raise InventoryError(f"{path}: not YAML: {text}") from error


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
    seen: set[str] = set()
    for key, value in node.value:
        if not key.tag.endswith((":str", ":merge")):
            raise InventoryError(
                f"{path}:{_line(key)}: YAML does not read the name {key.value} as"
                f' text; write "{key.value}":'
            )
        if key.value in seen:
            raise InventoryError(
                f"{path}:{_line(key)}: '{key.value}' stands twice in {what};"
                " only the last would count, so write it once"
            )
        seen.add(key.value)
        yield key, value


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
