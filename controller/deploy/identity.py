"""Who a node is: its keys and its certificate, made here at its first deployment.

    python -m controller.deploy.identity FOLDER HOST NAME... [--key] [--system-key]

is run by the role on the machine that runs Ansible, for one host; FOLDER is the
inventory's. It makes what is missing and answers with one JSON object: `changed`, and
`variables`, the keys it was asked for. One key is the whole fleet's, so that one
properties file works on every node; the system key is each node's own.

    group_vars/all/edge_agent.yaml    edge_agent_key
    host_vars/HOST/edge_agent.yaml    edge_agent_system_key
    pki/                              see controller.fleet.pki

All of them may be encrypted with ansible-vault; then Ansible knows the keys and asks
for none.
"""

from __future__ import annotations

import argparse
import secrets
import string
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from controller.deploy.authority import open_authority
from controller.fleet.inventory_form import load_yaml
from controller.fleet.pki import FOLDER
from controller.fleet.private import write_private

FILE = "edge_agent.yaml"
KEY, SYSTEM_KEY = "edge_agent_key", "edge_agent_system_key"
NOTE = (
    "# Written by edgectl deploy; keep it secret, or encrypt it with ansible-vault.\n"
)
_SECRET_LENGTH = 64
_ALPHABET = string.ascii_letters + string.digits


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="controller.deploy.identity")
    parser.add_argument("folder", type=Path)
    parser.add_argument("host")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--key", action="store_true")
    parser.add_argument("--system-key", action="store_true")
    options = parser.parse_args(arguments)
    with open_authority(options.folder / FOLDER) as authority:
        changed = authority.issue(options.host, options.names)
        found = {}
        if options.key:
            found[KEY] = kept_key(fleet_file(options.folder), KEY)
        if options.system_key:
            file = host_file(options.folder, options.host)
            found[SYSTEM_KEY] = kept_key(file, SYSTEM_KEY)
    answer = {"changed": changed or bool(found), "variables": found}
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


def fleet_file(folder: Path) -> Path:
    return folder / "group_vars" / "all" / FILE


def host_file(folder: Path, host: str) -> Path:
    return folder / "host_vars" / host / FILE


def new_key() -> str:
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    return f"{uuid.uuid4()}:{secret}"


def kept_key(file: Path, variable: str) -> str:
    """The key in `file`, made and kept there when it has none."""
    found = load_yaml(file) if file.is_file() else {}
    known = dict(found) if isinstance(found, dict) else {}
    if variable not in known:
        known[variable] = new_key()
        write_variables(file, known)
    return str(known[variable])


def write_variables(file: Path, variables: dict[str, object]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [
        f"{name}: {msgspec.json.encode(value).decode()}\n"
        for name, value in variables.items()
    ]
    write_private(file, NOTE + "".join(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
