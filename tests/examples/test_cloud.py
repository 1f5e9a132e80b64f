"""The inventory that Terraform's output writes is one of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.inventory import read_hosts, read_inventory

CLOUD = Path(__file__).parents[2] / "examples" / "cloud"
RECORDED = Path(__file__).parent / "terraform-output.json"
MACHINES = {
    "edge1": {"address": "203.0.113.11"},
    "edge2": {"address": "2001:db8::12", "variables": {"edge_agent_tls_port": "8443"}},
}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """As `terraform output -raw inventory` writes it."""
    file = tmp_path / "inventory.yaml"
    file.write_text(json.loads(RECORDED.read_text())["inventory"]["value"])
    return file


def test_the_recorded_output_names_the_nodes(inventory: Path) -> None:
    first, second = read_inventory(inventory)
    hosts = {host.name: host.variables for host in read_hosts(inventory)}

    assert (first.name, first.url) == ("edge1", "http://203.0.113.11:3233")
    assert first.groups == ("mqtt_brokers",)
    assert hosts["edge1"]["ansible_user"] == "debian"
    assert second.url == "http://[2001:db8::12]:3233"


def test_a_deployed_fleet_of_it_is_called_by_https(inventory: Path) -> None:
    authority = inventory.parent / "pki" / "ca.pem"
    authority.parent.mkdir()
    authority.touch()

    nodes = read_inventory(inventory)

    assert [node.url for node in nodes] == [
        "https://203.0.113.11:443",
        "https://[2001:db8::12]:8443",
    ]


@pytest.mark.timeout(60)
def test_terraform_itself_writes_what_was_recorded(tmp_path: Path) -> None:
    terraform = shutil.which("terraform") or shutil.which("tofu")
    if terraform is None:
        pytest.skip("terraform is not installed")
    module = tmp_path / "inventory"
    shutil.copytree(CLOUD / "inventory", module)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [terraform, *arguments],
            cwd=module,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "-backend=false")
    run("validate")
    given: dict[str, Any] = {"machines": MACHINES, "brokers": ["edge1"]}
    variables = [f"-var={name}={json.dumps(value)}" for name, value in given.items()]
    run("apply", "-auto-approve", "-var=user=debian", *variables)

    assert json.loads(run("output", "-json")) == json.loads(RECORDED.read_text())
    run("fmt", "-check", str(CLOUD))
