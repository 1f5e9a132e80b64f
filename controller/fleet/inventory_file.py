"""The inventory as a file that people edit: comments, order and form stay.

    file = InventoryFile.open(path)
    file.add("attic", {"ansible_host": "192.0.2.11"})
    file.remove("cellar")
    file.save()

Lines are put in and taken out as text, so that every other line stays as it is; only
what is no line of its own (`hosts: {a: , b: }`, a group that is not there yet) is
written anew by ruamel.yaml, which keeps comments but not every indentation. Other
inventories than YAML are their owner's to edit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml as pyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from controller.fleet.inventory import YAML_ENDINGS
from controller.fleet.inventory_form import check_yaml
from controller.fleet.inventory_groups import ALL, UNGROUPED, expand
from controller.fleet.inventory_place import InventoryError, no_inventory
from controller.fleet.private import write_private

FIRST = """\
# The nodes of the fleet: Ansible's inventory, yours to edit. `edgectl fleet add|remove`
# keep comments. `edgectl deploy` installs the agent on every host of it and keeps the
# keys in host_vars/ beside this file.
all:
  vars:
    # Who logs in over SSH; it needs sudo. ansible_port, ansible_ssh_private_key_file,
    # ansible_ssh_common_args: "-J gateway" and all else that Ansible knows work here.
    ansible_user: {user}
  hosts:
"""


class InventoryFile:
    """One inventory, read and not yet written back."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self.text = text

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read it.

        Raises:
            InventoryError: it is not there, broken, or not YAML.
        """
        if path.is_dir() or (path.exists() and path.suffix not in YAML_ENDINGS):
            raise InventoryError(
                f"{path}: only a YAML inventory can be edited; edit this one yourself"
            )
        if not path.exists():
            raise no_inventory(path)
        check_yaml(path)
        return cls(path, path.read_text())

    @property
    def hosts(self) -> list[str]:
        """Every host once, ranges expanded."""
        keys = (key.value for _, hosts in self._host_maps() for key, _ in hosts.value)
        return list(dict.fromkeys(host for key in keys for host in expand(key)))

    def add(self, name: str, variables: Mapping[str, Any], *, group: str = ALL) -> bool:
        """Put a host below `group`; False when it stands there already as it is.

        A host that is there keeps what `variables` does not name.
        """
        self._check_range(name)
        before = self.text
        hosts = next((node for g, node in self._host_maps() if g == group), None)
        names = [] if hosts is None else [key.value for key, _ in hosts.value]
        if hosts is None or name in names or hosts.flow_style:
            self._rewrite(lambda top: _put(top, name, variables, group))
        else:
            self._insert_after(hosts.value[-1], name, variables)
        return self.text != before

    def remove(self, name: str) -> bool:
        """Take the host out of every group; False when it is in none.

        Raises:
            InventoryError: it stands there only as part of a range.
        """
        self._check_range(name)
        before = self.text
        while (found := self._find(name)) is not None:
            hosts, key, value = found
            if hosts.flow_style:
                self._rewrite(lambda top: _take(top, name))
            else:
                lines = self.text.splitlines(keepends=True)
                del lines[key.start_mark.line : _last_line(key, value) + 1]
                self.text = "".join(lines)
        return self.text != before

    def save(self) -> None:
        """Replace the file in one step; where it is a link, what it points to."""
        write_private(self._path, self.text)

    def _insert_after(
        self,
        entry: tuple[pyyaml.Node, pyyaml.Node],
        name: str,
        variables: Mapping[str, Any],
    ) -> None:
        lines = self.text.splitlines(keepends=True)
        at = _last_line(*entry) + 1
        if not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
        margin = " " * entry[0].start_mark.column
        new = pyyaml.safe_dump(
            {name: dict(variables) or None}, sort_keys=False, allow_unicode=True
        ).replace(": null\n", ":\n")
        lines[at:at] = [margin + line for line in new.splitlines(keepends=True)]
        self.text = "".join(lines)

    def _rewrite(self, change: Callable[[CommentedMap], bool]) -> None:
        yaml = _yaml()
        try:
            top = yaml.load(self.text)
        except YAMLError as error:
            said = " ".join(str(error).split())
            raise InventoryError(f"{self._path}: cannot be edited: {said}") from error
        if not change(top):
            return
        text = io.StringIO()
        yaml.dump(top, text)
        self.text = text.getvalue()

    def _check_range(self, name: str) -> None:
        for group, hosts in self._host_maps():
            for key, _ in hosts.value:
                if key.value != name and name in expand(key.value):
                    raise InventoryError(
                        f"{self._path}:{key.start_mark.line + 1}: '{name}' is part of"
                        f" the range {key.value} of group '{group}'; write its hosts"
                        " one by one, then edit them"
                    )

    def _find(
        self, name: str
    ) -> tuple[pyyaml.MappingNode, pyyaml.Node, pyyaml.Node] | None:
        for _, hosts in self._host_maps():
            for key, value in hosts.value:
                if key.value == name:
                    return hosts, key, value
        return None

    def _host_maps(self) -> Iterator[tuple[str, pyyaml.MappingNode]]:
        """Each group that has hosts, with them."""
        waiting = _entries(pyyaml.compose(self.text))
        while waiting:
            name, body = waiting.pop(0)
            parts = {key.value: value for key, value in _entries(body)}
            hosts = parts.get("hosts")
            if isinstance(hosts, pyyaml.MappingNode) and hosts.value:
                yield name.value, hosts
            waiting += _entries(parts.get("children"))


def new_inventory(path: Path, *, user: str) -> None:
    """Write the first one.

    Raises:
        InventoryError: there is one.
    """
    if path.exists():
        raise InventoryError(f"{path}: there is an inventory already; it is left alone")
    if path.suffix not in YAML_ENDINGS:
        raise InventoryError(f"{path}: name it .yaml; only YAML can be edited")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, FIRST.format(user=user))


def _entries(node: Any) -> list[tuple[pyyaml.Node, pyyaml.Node]]:
    return list(node.value) if isinstance(node, pyyaml.MappingNode) else []


def _last_line(key: pyyaml.Node, value: pyyaml.Node) -> int:
    """Where an entry ends; the end that YAML tells is beyond the comments below it."""
    if isinstance(value, pyyaml.MappingNode) and not value.flow_style and value.value:
        return _last_line(*value.value[-1])
    if isinstance(value, pyyaml.SequenceNode) and not value.flow_style and value.value:
        return _last_line(key, value.value[-1])
    if isinstance(value, pyyaml.ScalarNode) and value.style in {"|", ">"}:
        return int(value.end_mark.line) - 1
    empty = value.start_mark.index == value.end_mark.index
    return int(key.end_mark.line if empty else value.end_mark.line)


def _put(
    top: CommentedMap, name: str, variables: Mapping[str, Any], group: str
) -> bool:
    body = next((b for g, b in _groups(top) if g == group and b), None)
    if body is None:
        body = _new_group(top, group)
    if body.get("hosts") is None:
        body["hosts"] = CommentedMap()
    hosts: CommentedMap = body["hosts"]
    present = hosts.get(name)
    if name in hosts and all((present or {}).get(k) == v for k, v in variables.items()):
        return False
    if present is None:
        hosts[name] = CommentedMap(variables) if variables else None
    else:
        present.update(variables)
    return True


def _take(top: CommentedMap, name: str) -> bool:
    for _, body in _groups(top):
        if body and body.get("hosts") and name in body["hosts"]:
            del body["hosts"][name]
    return True


def _new_group(top: CommentedMap, group: str) -> CommentedMap:
    body = CommentedMap()
    if group in {ALL, UNGROUPED} or ALL not in top:
        top[group] = body
        return body
    if top[ALL] is None:
        top[ALL] = CommentedMap()
    if top[ALL].get("children") is None:
        top[ALL]["children"] = CommentedMap()
    top[ALL]["children"][group] = body
    return body


def _groups(top: CommentedMap) -> Iterator[tuple[str, CommentedMap | None]]:
    waiting = list(top.items())
    while waiting:
        name, body = waiting.pop(0)
        yield name, body
        waiting += ((body or {}).get("children") or {}).items()


def _yaml() -> YAML:
    """Round trip; lines are as long as they are, and encrypted values stay."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml
