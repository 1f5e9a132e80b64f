"""What `edgectl deploy --engine` refuses before anything runs, and the keys it makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.deploy.lean import make_keys, targets_of
from controller.fleet.entries import Entry
from controller.fleet.inventory_form import load_yaml
from tests.controller.conftest import Edgectl

PUBLIC = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    hosts = {
        "attic": {"ansible_host": "192.0.2.1"},
        "cellar": {
            "openwhisk_lean_address": "2001:db8::2",
            "openwhisk_lean_port": 8080,
        },
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(json.dumps({"all": {"hosts": hosts}}))
    return file


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "openwhisk"), "add --on kubernetes"),
        (("--engine", "lean", "--on", "kubernetes"), "goes with --engine openwhisk"),
        (("--on", "kubernetes"), "goes with --engine openwhisk"),
        (("--engine", "lean", "--rollback"), "go with --engine edge only"),
        (("--engine", "lean", "--wheelhouse", "/tmp"), "go with --engine edge only"),
        (("--engine", "lean", "--var", "openwhisk_lean_port"), "takes NAME=VALUE"),
        (("--engine", "lean", "--var-file", "/none.yaml"), "no such file"),
        (("--engine", "lean"), "no inventory"),
        (
            ("--engine", "openwhisk", "--on", "kubernetes", "--limit", "attic"),
            "a cluster has no inventory",
        ),
        (("--engine", "docker"), "'docker' is not one of"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    edgectl: Edgectl, options: tuple[str, ...], said: str
) -> None:
    done = edgectl("deploy", *options)

    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_file_of_variables_is_a_mapping(edgectl: Edgectl, tmp_path: Path) -> None:
    file = tmp_path / "variables.yaml"
    file.write_text("- openwhisk_lean_port\n")

    done = edgectl("remove", "--engine", "lean", "--var-file", str(file), "--yes")

    assert done.code == 2
    assert "not a mapping" in done.err


@pytest.mark.timeout(60)
def test_each_host_gets_keys_of_its_own_that_stay(inventory: Path) -> None:
    kept = inventory.parent / "host_vars/attic/openwhisk_lean.yaml"

    make_keys(inventory, ["attic", "cellar"])
    first = kept.read_text()
    make_keys(inventory, ["attic", "cellar"])
    found = targets_of(inventory, ["attic", "cellar"], {})

    keys = load_yaml(kept)
    assert kept.read_text() == first
    assert kept.stat().st_mode & 0o777 == 0o600
    assert PUBLIC not in first
    assert found["attic-lean"] == Entry(
        apihost="http://192.0.2.1:3233",
        auth=keys["openwhisk_lean_key"],
        system_auth=keys["openwhisk_lean_system_key"],
    )
    assert found["cellar-lean"].apihost == "http://[2001:db8::2]:8080"
    assert found["cellar-lean"].auth != found["attic-lean"].auth


def test_the_status_tells_of_clusters_beside_the_inventory(
    edgectl: Edgectl, home: Path
) -> None:
    folder = home / ".config/edgewhisk"
    folder.mkdir(parents=True)
    closed = {"edge_agent_url": "http://127.0.0.1:1", "edge_agent_key": "u:k"}
    (folder / "targets.toml").write_text(
        '[ow]\napihost = "http://127.0.0.1:1"\nauth = "u:k"\n'
        '[ow.kubernetes]\nnamespace = "a"\nrelease = "b"\nkubeconfig = "/none"\n'
        '[other]\napihost = "http://127.0.0.1:1"\nauth = "u:k"\n'
    )

    alone = edgectl("fleet", "status", "--json")
    (folder / "inventory.yaml").write_text(
        json.dumps({"all": {"hosts": {"attic": closed}}})
    )
    beside = edgectl("fleet", "status", "--json")
    named = edgectl("fleet", "status", "--node", "attic", "--json")

    assert [one["name"] for one in alone.json] == ["ow"]
    assert [one["name"] for one in beside.json] == ["attic", "ow"]
    assert [one["name"] for one in named.json] == ["attic"]
    assert (alone.code, beside.code, named.code) == (1, 1, 1)
