"""What Ansible itself says of an inventory's hosts: slow, but it knows everything.

`ansible-inventory` neither fills in templates nor decrypts single values, so the
variables are asked for by the `debug` module, which connects to nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.fleet.inventory_place import InventoryError

TIMEOUT_S = 60
_HOST = re.compile(r"^(\S+) \| (?:SUCCESS|CHANGED) => \{$", re.MULTILINE)


def ask_ansible(path: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Host -> those of the variables `names` that it has, in the inventory's order.

    Raises:
        InventoryError: Ansible cannot read it; its own words.
    """
    pairs = ", ".join(f"'{name}': {name} | default(none)" for name in names)
    pairs += ", 'group_names': group_names"
    pairs += ", 'place': groups['all'].index(inventory_hostname)"
    said = _run(path, f"msg={{{{ {{{pairs}}} }}}}")
    found = {
        host.group(1): _message(said[host.end() - 1 :]) for host in _HOST.finditer(said)
    }
    if not found:
        raise InventoryError(f"{path}: no hosts; {_reason(said)}")
    return dict(sorted(found.items(), key=lambda entry: entry[1].pop("place")))


def _run(path: Path, message: str) -> str:
    command = [sys.executable, "-m", "ansible", "adhoc", "-i", str(path), "all"]
    command += ["-m", "ansible.builtin.debug", "-a", message]
    try:
        outcome = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false",
                "ANSIBLE_STDOUT_CALLBACK": "minimal",
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            },
        )
    except subprocess.TimeoutExpired as error:
        raise InventoryError(f"{path}: Ansible took over {TIMEOUT_S} s") from error
    if outcome.returncode and not _HOST.search(outcome.stdout):
        raise InventoryError(f"{path}: {_reason(outcome.stderr + outcome.stdout)}")
    return outcome.stdout


def _message(text: str) -> dict[str, Any]:
    """The `msg` of the object that `text` begins with."""
    end = text.index("\n}") + 2
    message = msgspec.json.decode(text[:end])["msg"]
    return {name: value for name, value in message.items() if value is not None}


def _reason(said: str) -> str:
    """The first error that Ansible tells, on one line."""
    errors = re.findall(r"^\[ERROR\]: (.+)|\"msg\": \"(.+)\"", said, re.MULTILINE)
    first = next((a or b for a, b in errors), "")
    return " ".join((first or said or "Ansible says nothing").split())[:400]
