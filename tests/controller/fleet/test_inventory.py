"""Nodes of an inventory as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.fleet.inventory import InventoryError, read_inventory


def nodes(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    return {node.name: node.url for node in read_inventory(path)}


def test_groups_children_and_their_variables_are_read(tmp_path: Path) -> None:
    found = nodes(
        tmp_path,
        """
all:
  vars: {edge_agent_port: 8080}
  children:
    pis:
      vars: {edge_agent_scheme: https}
      hosts:
        attic: {ansible_host: 10.0.0.7}
        cellar: {edge_agent_port: 9090}
    others:
      hosts:
        gateway: {edge_agent_url: "http://gw:1"}
""",
    )
    assert found == {
        "attic": "https://10.0.0.7:8080",
        "cellar": "https://cellar:9090",
        "gateway": "http://gw:1",
    }


def test_a_host_in_two_groups_is_one_node_and_its_own_variables_win(
    tmp_path: Path,
) -> None:
    found = nodes(
        tmp_path,
        """
all:
  hosts:
    pi: {edge_agent_port: 1}
  children:
    gpio:
      vars: {edge_agent_port: 2}
      hosts: {pi: }
""",
    )
    assert found == {"pi": "http://pi:1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("all: [", "not YAML: line 1"),
        ("- a", "mapping of groups"),
        ("all: {hosts: [a]}", "hosts of group 'all' is not a mapping"),
        ("all: {vars: 3}", "vars of group 'all' is not a mapping"),
        ("all:", "no hosts"),
        ("all: {hosts: {a: {edge_agent_port: x}}}", "host 'a'"),
    ],
)
def test_a_broken_inventory_is_one_line_with_its_file(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InventoryError, match=said) as raised:
        nodes(tmp_path, text)
    assert str(raised.value).startswith(str(tmp_path / "fleet.yaml"))
    assert "\n" not in str(raised.value)


def test_a_hosts_own_files_beside_the_inventory_win(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("all: {hosts: {attic: {edge_agent_key: old}, cellar: {}}}")
    kept = tmp_path / "host_vars" / "attic"
    kept.mkdir(parents=True)
    (kept / "edge_agent.yaml").write_text("edge_agent_key: new\n")
    (kept / "secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6233\n")
    (tmp_path / "host_vars" / "cellar.yml").write_text("edge_agent_port: 80\n")

    attic, cellar = read_inventory(path)

    assert attic.key == "new"
    assert cellar.url == "http://cellar:80"
