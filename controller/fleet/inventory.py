"""Nodes of an Ansible inventory.

A host is a node when its address is known:

    edge_agent_url         the whole address, or
    edge_agent_scheme      https where the fleet has an authority, else http
    edge_agent_address     default: ansible_host, else the host's name
    edge_agent_port        default: 3233, with https edge_agent_tls_port or 443

with `edge_agent_key` (the namespace's), `edge_agent_system_key` and
`edge_agent_insecure`; `edgectl deploy` keeps keys in `host_vars/HOST/` beside it.

Read here are YAML files with groups, children, variables, ranges, `group_vars` and
`host_vars` (see `inventory_groups`): 10 ms, where Ansible takes two seconds. Ansible is
asked about all else: other formats, folders, scripts, and values that are encrypted or
templates of more than other variables of the same host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.fleet.inventory_form import ENCRYPTED, check_yaml, load_yaml
from controller.fleet.inventory_groups import Groups, Host
from controller.fleet.inventory_place import InventoryError, no_inventory
from controller.fleet.pki import find_ca

__all__ = ["InventoryError", "InventoryNode", "read_inventory"]

DEFAULT_PORT = 3233
DEFAULT_TLS_PORT = 443
YAML_ENDINGS = {".yaml", ".yml"}
#: The variables a node is made of.
OURS = (
    "edge_agent_url",
    "edge_agent_scheme",
    "edge_agent_address",
    "edge_agent_port",
    "edge_agent_key",
    "edge_agent_system_key",
    "edge_agent_insecure",
    "edge_agent_tls",
    "edge_agent_tls_port",
    "ansible_host",
)
_REFERENCE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NESTED_MOST = 8


@dataclass(frozen=True, slots=True)
class InventoryNode:
    name: str
    url: str
    key: str | None = field(default=None, repr=False)
    system_key: str | None = field(default=None, repr=False)
    insecure: bool = False
    ca: Path | None = None
    groups: tuple[str, ...] = ()


def read_inventory(path: Path) -> list[InventoryNode]:
    """The nodes in the file's order, each once.

    Raises:
        InventoryError: the file is not an inventory, or has no hosts.
    """
    hosts = read_hosts(path)
    if not hosts:
        raise InventoryError(
            f"{path}: no hosts; add one with `edgectl fleet add NAME`,"
            " or write it below `hosts:`"
        )
    return [_node(host, path) for host in hosts]


def read_hosts(path: Path) -> list[Host]:
    """The hosts with the variables in `OURS` as they are meant; there may be none."""
    if path.suffix not in YAML_ENDINGS or path.is_dir():
        if not path.exists():
            raise no_inventory(path)
        return _from_ansible(path)
    check_yaml(path)
    hosts = Groups(path, load_yaml(path)).hosts()
    resolved = [_resolve(host) for host in hosts]
    return _from_ansible(path) if any(map(_needs_ansible, resolved)) else resolved


def _from_ansible(path: Path) -> list[Host]:
    from controller.fleet.inventory_ansible import ask_ansible  # noqa: PLC0415 rarely

    return [
        Host(name, tuple(found.pop("group_names", ())), found)
        for name, found in ask_ansible(path, OURS).items()
    ]


def _resolve(host: Host) -> Host:
    """Fill in what are templates of other variables only."""
    known = {**host.variables, "inventory_hostname": host.name}
    ours = {k: _filled(known[k], known) for k in OURS if k in known}
    return Host(host.name, host.groups, {**host.variables, **ours}, host.encrypted)


def _filled(value: Any, known: Mapping[str, Any]) -> Any:
    for _ in range(_NESTED_MOST):
        if not isinstance(value, str) or "{{" not in value:
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole and whole.group(1) in known:
            value = known[whole.group(1)]
            continue
        value, filled = _REFERENCE.subn(
            lambda found: str(known.get(found.group(1), found.group(0))), value
        )
        if not filled:
            return value
    return value


def _needs_ansible(host: Host) -> bool:
    ours = [host.variables[name] for name in OURS if name in host.variables]
    if any(v is ENCRYPTED or (isinstance(v, str) and "{{" in v) for v in ours):
        return True
    return host.encrypted and not host.variables.get("edge_agent_key")


def _node(host: Host, path: Path) -> InventoryNode:
    variables = host.variables
    return InventoryNode(
        name=host.name,
        url=str(variables.get("edge_agent_url") or _url(host.name, variables, path)),
        ca=find_ca(path),
        key=_text(variables, "edge_agent_key"),
        system_key=_text(variables, "edge_agent_system_key"),
        insecure=variables.get("edge_agent_insecure") is True,
        groups=host.groups,
    )


def _url(name: str, variables: Mapping[str, Any], path: Path) -> str:
    tls = find_ca(path) is not None and variables.get("edge_agent_tls") is not False
    scheme = variables.get("edge_agent_scheme", "https" if tls else "http")
    address = str(
        variables.get("edge_agent_address") or variables.get("ansible_host") or name
    )
    port = variables.get("edge_agent_port", DEFAULT_PORT)
    if tls and "edge_agent_scheme" not in variables:
        port = variables.get("edge_agent_tls_port", DEFAULT_TLS_PORT)
    if isinstance(port, str) and port.isdigit():
        port = int(port)
    if scheme not in {"http", "https"} or not isinstance(port, int):
        raise InventoryError(
            f"{path}: host '{name}': edge_agent_scheme is http or https"
            " and edge_agent_port a number"
        )
    if ":" in address and not address.startswith("["):
        address = f"[{address}]"
    return f"{scheme}://{address}:{port}"


def _text(variables: Mapping[str, Any], key: str) -> str | None:
    value = variables.get(key)
    return None if value is None else str(value)
