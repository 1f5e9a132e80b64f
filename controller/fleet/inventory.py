"""Nodes of an Ansible inventory in YAML.

Read are hosts, groups, their children and their `vars` (a host's own win over its
group's, a child's over its parent's); a host is a node when its address is known:

    edge_agent_url         the whole address, or
    edge_agent_scheme      http (default) or https
    edge_agent_address     default: ansible_host, else the host's name
    edge_agent_port        default: 3233

with `edge_agent_key` (the namespace's), `edge_agent_system_key` and
`edge_agent_insecure`. `edgectl` needs no Ansible for this.

A host's variables may also be in `host_vars/HOST.yaml` or `host_vars/HOST/*.yaml`
beside the inventory, and then win, as with Ansible: `edgectl deploy` keeps keys there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from edge_agent.model.errors import EdgeWhiskError

DEFAULT_PORT = 3233


class InventoryError(EdgeWhiskError):
    """The inventory cannot be used; the text names file and place."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class InventoryNode:
    name: str
    url: str
    key: str | None = field(default=None, repr=False)
    system_key: str | None = field(default=None, repr=False)
    insecure: bool = False


def read_inventory(path: Path) -> list[InventoryNode]:
    """The nodes in the file's order, each once.

    Raises:
        InventoryError: the file is not an inventory, or has no hosts.
    """
    document = _load(path)
    of_groups: dict[str, dict[str, Any]] = {}
    of_hosts: dict[str, dict[str, Any]] = {}
    for name, inherited, own in _hosts(document, path, {}):
        of_groups.setdefault(name, {}).update(inherited)
        of_hosts.setdefault(name, {}).update(own)
    if not of_hosts:
        raise InventoryError(f"{path}: no hosts in this inventory")
    return [
        _node(name, {**of_groups[name], **own, **_beside(path, name)}, path)
        for name, own in of_hosts.items()
    ]


def _beside(inventory: Path, host: str) -> dict[str, Any]:
    """The host's variables in files of its own; encrypted ones are Ansible's alone."""
    folder = inventory.parent / "host_vars"
    files = [folder / f"{host}.yml", folder / f"{host}.yaml"]
    files += sorted((folder / host).glob("*.y*ml"))
    found: dict[str, Any] = {}
    for file in files:
        if file.is_file() and not file.read_bytes().startswith(b"$ANSIBLE_VAULT"):
            found.update(_load(file))
    return found


def _load(path: Path) -> Mapping[str, Any]:
    import yaml  # noqa: PLC0415 20 ms that most commands need not pay

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InventoryError(f"{path}: not YAML: {_one_line(error)}") from error
    if not isinstance(document, dict):
        raise InventoryError(f"{path}: an inventory is a mapping of groups")
    return document


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else problem


def _hosts(
    groups: Mapping[str, Any], path: Path, inherited: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each mention of a host: its name, its groups' variables, its own."""
    for name, body in groups.items():
        group = _mapping(body, path, f"group '{name}'")
        own = _mapping(group.get("vars"), path, f"vars of group '{name}'")
        variables = {**inherited, **own}
        hosts = _mapping(group.get("hosts"), path, f"hosts of group '{name}'")
        for host, its in hosts.items():
            yield str(host), variables, _mapping(its, path, f"host '{host}'")
        children = _mapping(group.get("children"), path, f"children of '{name}'")
        yield from _hosts(children, path, variables)


def _mapping(value: Any, path: Path, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InventoryError(f"{path}: {place} is not a mapping")
    return value


def _node(name: str, variables: Mapping[str, Any], path: Path) -> InventoryNode:
    return InventoryNode(
        name=name,
        url=str(variables.get("edge_agent_url") or _url(name, variables, path)),
        key=_text(variables, "edge_agent_key"),
        system_key=_text(variables, "edge_agent_system_key"),
        insecure=variables.get("edge_agent_insecure") is True,
    )


def _url(name: str, variables: Mapping[str, Any], path: Path) -> str:
    scheme = variables.get("edge_agent_scheme", "http")
    address = variables.get("edge_agent_address") or variables.get("ansible_host")
    port = variables.get("edge_agent_port", DEFAULT_PORT)
    if scheme not in {"http", "https"} or not isinstance(port, int):
        raise InventoryError(
            f"{path}: host '{name}': edge_agent_scheme is http or https"
            " and edge_agent_port a number"
        )
    return f"{scheme}://{address or name}:{port}"


def _text(variables: Mapping[str, Any], key: str) -> str | None:
    value = variables.get(key)
    return None if value is None else str(value)
