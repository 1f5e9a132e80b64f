"""Keys and certificate of a node, made once and kept beside the inventory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.deploy.identity import main
from controller.fleet.inventory import read_inventory


def made(
    folder: Path, host: str, capsys: pytest.CaptureFixture[str], *options: str
) -> dict[str, str]:
    assert main([str(folder), host, host, "127.0.0.1", *options]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)["variables"]
    return found


def test_the_fleet_shares_a_key_and_each_node_has_a_system_key_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attic = made(tmp_path, "attic", capsys, "--key", "--system-key")
    cellar = made(tmp_path, "cellar", capsys, "--key", "--system-key")
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("all: {hosts: {attic: {}, cellar: {edge_agent_tls: false}}}")

    nodes = {node.name: node for node in read_inventory(inventory)}

    assert attic["edge_agent_key"] == cellar["edge_agent_key"] == nodes["attic"].key
    assert attic["edge_agent_system_key"] != cellar["edge_agent_system_key"]
    assert nodes["attic"].system_key == attic["edge_agent_system_key"]
    assert nodes["attic"].url == "https://attic:443"
    assert nodes["attic"].ca == tmp_path / "pki" / "ca.pem"
    assert nodes["cellar"].url == "http://cellar:3233"


def test_the_second_time_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, "attic", capsys, "--key", "--system-key")
    kept = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    assert main([str(tmp_path), "attic", "attic", "127.0.0.1"]) == 0

    assert json.loads(capsys.readouterr().out) == {"changed": False, "variables": {}}
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == kept
