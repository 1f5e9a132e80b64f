"""Which variables a host has: groups, their children, and the files beside.

As Ansible resolves them, later over earlier: the variables of `all`, those of the
groups (parents before children, then by priority and name), the files
`group_vars/all` and `group_vars/GROUP`, the host's own, the files `host_vars/HOST`.
A test compares this with `ansible-inventory`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.fleet.inventory_form import ENCRYPTED, load_yaml
from controller.fleet.inventory_place import InventoryError

ALL = "all"
UNGROUPED = "ungrouped"
#: A number among a group's variables that is none: it orders groups of equal depth.
PRIORITY = "ansible_group_priority"
#: In this order the first that is there is read; a folder with everything in it.
ENDINGS = ("", ".yml", ".yaml", ".json")
_VAULT = b"$ANSIBLE_VAULT"
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")

Variables = dict[str, Any]


@dataclass(slots=True)
class Group:
    name: str
    priority: int = 1
    variables: Variables = field(default_factory=dict)
    parents: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Host:
    """`encrypted`: a file of its variables is, so that something may be missing."""

    name: str
    groups: tuple[str, ...]
    variables: Variables
    encrypted: bool = False


class Groups:
    """The groups and hosts of one document; `hosts` resolves them."""

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self._path = path
        self._groups: dict[str, Group] = {ALL: Group(ALL)}
        self._hosts: dict[str, Variables] = {}
        self._member_of: dict[str, set[str]] = {}
        self._files: dict[str, tuple[Variables, bool]] = {}
        for name, body in document.items():
            self._take(name, body or {}, None)

    def hosts(self) -> list[Host]:
        return [self._host(name) for name in self._hosts]

    def _take(self, name: str, body: Mapping[str, Any], parent: str | None) -> None:
        group = self._groups.setdefault(name, Group(name))
        if parent is not None:
            group.parents.add(parent)
        own = dict(body.get("vars") or {})
        group.priority = _number(own.pop(PRIORITY, group.priority))
        group.variables.update(own)
        for pattern, its in (body.get("hosts") or {}).items():
            for host in expand(pattern):
                self._hosts.setdefault(host, {}).update(its or {})
                self._member_of.setdefault(host, set()).add(name)
        for child, inner in (body.get("children") or {}).items():
            self._take(child, inner or {}, name)

    def _host(self, name: str) -> Host:
        groups = sorted(self._all_groups(name), key=self._rank)
        files = [self._beside("group_vars", g) for g in (ALL, *groups)]
        own = self._beside("host_vars", name)
        layers = [self._groups[ALL].variables]
        layers += [self._groups[g].variables for g in groups if g in self._groups]
        layers += [found for found, _ in files]
        layers += [self._hosts[name], own[0]]
        return Host(
            name=name,
            groups=tuple(groups),
            variables={k: v for layer in layers for k, v in layer.items()},
            encrypted=any(encrypted for _, encrypted in (*files, own)),
        )

    def _all_groups(self, host: str) -> set[str]:
        found: set[str] = set()
        for name in self._member_of[host]:
            found |= {name, *self._ancestors(name)}
        return (found - {ALL}) or {UNGROUPED}

    def _ancestors(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            parents = self._parents(waiting.pop()) - found
            found |= parents
            waiting += parents
        if name in found:
            raise InventoryError(
                f"{self._path}: group '{name}' is a child of itself; take it out of"
                " the children of one of its own children"
            )
        return found

    def _parents(self, name: str) -> set[str]:
        group = self._groups.get(name)
        own = set() if group is None else group.parents
        return own or ({ALL} if name != ALL else set())

    def _rank(self, name: str) -> tuple[int, int, str]:
        group = self._groups.get(name)
        return (self._depth(name), group.priority if group else 1, name)

    def _depth(self, name: str) -> int:
        parents = self._parents(name)
        return 1 + max(map(self._depth, parents)) if parents else 0

    def _beside(self, folder: str, name: str) -> tuple[Variables, bool]:
        """Variables in files of their own, and whether one of them is encrypted."""
        key = f"{folder}/{name}"
        if key not in self._files:
            self._files[key] = _read_files(self._path.parent / folder, name)
        return self._files[key]


def expand(pattern: str) -> Iterator[str]:
    """`node[01:03].lan` -> node01.lan, node02.lan, node03.lan; letters as well."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, step = found.groups()
    for text in _steps(first, last, int(step or 1)):
        yield from expand(pattern[: found.start()] + text + pattern[found.end() :])


def _steps(first: str, last: str, step: int) -> list[str]:
    if first.isdigit():
        width = len(first) if first.startswith("0") else 0
        numbers = range(int(first), int(last) + 1, step)
        return [str(number).zfill(width) for number in numbers]
    letters = string.ascii_letters
    return list(letters[letters.index(first) : letters.index(last) + 1 : step])


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 1


def _read_files(folder: Path, name: str) -> tuple[Variables, bool]:
    variables: Variables = {}
    encrypted = False
    for file in _files(folder, name):
        if file.read_bytes().startswith(_VAULT):
            encrypted = True
            continue
        found = load_yaml(file)
        if found is not None and not isinstance(found, dict):
            raise InventoryError(
                f"{file}:1: not a mapping; write `VARIABLE: VALUE`, one a line"
            )
        variables.update(found or {})
    return variables, encrypted or ENCRYPTED in variables.values()


def _files(folder: Path, name: str) -> list[Path]:
    for ending in ENDINGS:
        path = folder / f"{name}{ending}"
        if path.is_file():
            return [path]
        if path.is_dir():
            return list(_within(path))
    return []


def _within(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir() and not path.suffix:
            yield from _within(path)
        elif path.is_file() and path.suffix in ENDINGS:
            yield path
