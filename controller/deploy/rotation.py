"""Other keys and certificates for a fleet, without a request that fails meanwhile.

Keys: the new ones become the nodes' while the former ones still open (`*_former_keys`
beside them); once every caller has the new ones, the former are dropped. Certificates
are simply made anew: the authority stays, so whoever trusts it trusts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controller.deploy.authority import open_authority
from controller.deploy.identity import (
    KEY,
    SYSTEM_KEY,
    fleet_file,
    host_file,
    new_key,
    write_variables,
)
from controller.fleet.inventory_form import load_yaml
from controller.fleet.pki import FOLDER
from edge_agent.model.errors import EdgeWhiskError

FORMER = {
    KEY: "edge_agent_former_keys",
    SYSTEM_KEY: "edge_agent_former_system_keys",
}


class RotationError(EdgeWhiskError):
    """There is nothing to replace, or a former rotation is not finished."""

    exit_code = 2


def renew_keys(folder: Path, hosts: Sequence[str]) -> None:
    """Write new keys beside the inventory in `folder`; the former ones still open.

    Raises:
        RotationError: a file is missing or encrypted, or holds former keys already.
    """
    places = _places(folder, hosts)
    found = {file: _read(file, variable) for file, variable in places}
    for file, variable in places:
        if found[file].get(FORMER[variable]):
            raise RotationError(
                f"{file} still has former keys: end that rotation by"
                " `edgectl rotate keys --finish` first"
            )
    for file, variable in places:
        known = found[file]
        former = {FORMER[variable]: [known[variable]]}
        write_variables(file, {**known, variable: new_key(), **former})


def drop_former_keys(folder: Path, hosts: Sequence[str]) -> None:
    for file, variable in _places(folder, hosts):
        known = _read(file, variable)
        known.pop(FORMER[variable], None)
        write_variables(file, known)


def renew_certificates(folder: Path, hosts: Sequence[str]) -> None:
    """Let the next deployment make them: it knows the names they are for."""
    with open_authority(folder / FOLDER):
        for host in hosts:
            (folder / FOLDER / f"{host}.pem").unlink(missing_ok=True)


def _places(folder: Path, hosts: Sequence[str]) -> list[tuple[Path, str]]:
    own = [(host_file(folder, host), SYSTEM_KEY) for host in hosts]
    return [(fleet_file(folder), KEY), *own]


def _read(file: Path, variable: str) -> dict[str, object]:
    if not file.is_file():
        raise RotationError(f"{file}: not there; run `edgectl deploy` first")
    known = load_yaml(file)
    if not isinstance(known, dict) or not isinstance(known.get(variable), str):
        raise RotationError(
            f"{file}: no {variable} to read; decrypt it by `ansible-vault decrypt`"
        )
    return known
