"""The other engine: whose keys a standalone OpenWhisk gets, and the targets they make.

Its keys are kept as those of our agent are, in `host_vars/HOST/openwhisk_lean.yaml`
beside the inventory. A target HOST-lean is written for each host, so that it does not
hide an agent of ours on the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.deploy.identity import kept_key
from controller.fleet.entries import Entry
from controller.fleet.inventory_ansible import ask_ansible

FILE = "openwhisk_lean.yaml"
KEY, SYSTEM_KEY = "openwhisk_lean_key", "openwhisk_lean_system_key"
SUFFIX = "-lean"
DEFAULT_PORT = 3233
ADDRESS = ("openwhisk_lean_address", "ansible_host")
_VAULT = b"$ANSIBLE_VAULT"
_NAMES = (KEY, SYSTEM_KEY, "openwhisk_lean_port", *ADDRESS)


def make_keys(inventory: Path, hosts: Sequence[str]) -> None:
    """Keys of their own for those that have none; what is encrypted has some."""
    known = ask_ansible(inventory, (KEY, SYSTEM_KEY))
    for host in hosts:
        file = inventory.parent / "host_vars" / host / FILE
        if file.is_file() and file.read_bytes().startswith(_VAULT):
            continue
        for name in (KEY, SYSTEM_KEY):
            if name not in known.get(host, {}):
                kept_key(file, name)


def targets_of(
    inventory: Path, hosts: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Entry]:
    """The entry of each host, by its name; `given` variables win, as in Ansible."""
    known = ask_ansible(inventory, _NAMES)
    return {
        target_name(host): _entry(host, {**known.get(host, {}), **given})
        for host in hosts
    }


def target_name(host: str) -> str:
    return f"{host}{SUFFIX}"


def _entry(host: str, variables: Mapping[str, Any]) -> Entry:
    address = next(
        (str(variables[name]) for name in ADDRESS if name in variables), host
    )
    if ":" in address and not address.startswith("["):
        address = f"[{address}]"
    port = variables.get("openwhisk_lean_port", DEFAULT_PORT)
    return Entry(
        apihost=f"http://{address}:{port}",
        auth=str(variables[KEY]),
        system_auth=str(variables[SYSTEM_KEY]),
    )
