"""Nodes of an inventory as a person writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.fleet.inventory import read_hosts, read_inventory
from controller.fleet.inventory_place import InventoryError, inventory_place


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
        ("all: [", ":1: not YAML"),
        ("- a", "1: an inventory is not a mapping"),
        ("all: {hosts: [a]}", ":1: hosts of 'all' is not a mapping"),
        ("all: {vars: 3}", ":1: vars of 'all' is not a mapping"),
        ("all:", "no hosts"),
        ("all:\n  hosts:\n    a:\n    a:", ":4: 'a' stands twice"),
        ("all: {children: {x: {children: {x: }}}}", "no hosts"),
        ("a: {hosts: {h: }, children: {b: {children: {a: }}}}", "child of itself"),
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


EVERYTHING = """
all:
  vars: {v: all, only_all: 1, ansible_group_priority: 1}
  hosts:
    loose: {v: host}
    "n[01:03].lan": {ansible_host: "{{ inventory_hostname }}"}
  children:
    site:
      vars: {v: site, site: yes}
      children:
        pis:
        others: {vars: {v: others}, hosts: {gateway: }}
    zeros: {vars: {v: zeros, ansible_group_priority: 5}, hosts: {attic: }}
pis:
  vars: {v: pis}
  hosts:
    attic: {own: 1}
    cellar: {own: 2}
    "[a:c]x": {}
"""


def beside(folder: Path) -> None:
    """Files of variables in every form that Ansible reads."""
    for name, text in {
        "group_vars/all.yml": "v: all-file\nfile: all\n",
        "group_vars/pis/one.yaml": "w: pis-one\nfile: one\n",
        "group_vars/pis/two.yml": "file: two\n",
        "group_vars/pis/.hidden.yml": "file: hidden\n",
        "group_vars/site": "w: site-file\nx: !unsafe '{{ y }}'\n",
        "host_vars/attic.yml": "own: beside\n",
        "host_vars/cellar/edge_agent.yaml": "edge_agent_key: k\n",
        "host_vars/cellar.yml": "own: shadowed by the folder\n",
        "host_vars/loose.json": '{"j": [1]}',
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.timeout(60)
def test_variables_and_groups_are_those_that_ansible_says(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(EVERYTHING)
    beside(tmp_path)
    command = [sys.executable, "-m", "ansible", "inventory", "-i", str(path), "--list"]
    said = json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))

    ours = {host.name: dict(host.variables) for host in read_hosts(path)}
    theirs = said["_meta"]["hostvars"]

    for variables in ours.values():  # filled in here, a template there
        if "ansible_host" in variables:
            variables["ansible_host"] = "{{ inventory_hostname }}"
    theirs["attic"]["x"] = theirs["cellar"]["x"] = "{{ y }}"
    for host in ("gateway", "ax", "bx", "cx"):
        theirs[host]["x"] = "{{ y }}"  # Ansible shows {"__ansible_unsafe": ...}
    assert ours == theirs
    for found in read_hosts(path):
        direct = {g for g, body in said.items() if found.name in body.get("hosts", ())}
        assert direct <= set(found.groups)


@pytest.mark.timeout(60)
def test_what_only_ansible_can_read_is_asked_of_ansible(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("all: {hosts: {attic: , cellar: {edge_agent_port: 80}}}")
    kept = tmp_path / "host_vars" / "attic"
    kept.mkdir(parents=True)
    (kept / "keys.yaml").write_text(
        "edge_agent_key: secret\nedge_agent_port: '{{ 40 + 2 }}'\n"
    )
    word = tmp_path / "word"
    word.write_text("open")
    vault = [sys.executable, "-m", "ansible", "vault", "encrypt"]
    vault += ["--vault-password-file", str(word), str(kept / "keys.yaml")]
    subprocess.run(vault, check=True, capture_output=True, timeout=30)
    os.environ["ANSIBLE_VAULT_PASSWORD_FILE"] = str(word)
    try:
        attic, cellar = read_inventory(path)
    finally:
        del os.environ["ANSIBLE_VAULT_PASSWORD_FILE"]

    assert (attic.key, attic.url) == ("secret", "http://attic:42")
    assert cellar.url == "http://cellar:80"


@pytest.mark.timeout(60)
def test_an_inventory_in_ini_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text("[pis]\nattic ansible_host=192.0.2.1 edge_agent_port=80\n")

    (attic,) = read_inventory(path)

    assert (attic.url, attic.groups) == ("http://192.0.2.1:80", ("pis",))


def test_the_place_is_what_is_given_then_the_variable_then_the_users_own() -> None:
    home = Path("/home/ann")
    named = {"EDGEWHISK_INVENTORY": "/srv/fleet.yaml"}

    assert inventory_place(Path("a.yaml"), named, home) == Path("a.yaml")
    assert inventory_place(None, named, home) == Path("/srv/fleet.yaml")
    assert inventory_place(None, {}, home) == home / ".config/edgewhisk/inventory.yaml"
