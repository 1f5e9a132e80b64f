"""`edgectl target use NAME`: the next command talks to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.fleet.target import parse_properties
from controller.local import LocalFleet
from tests.controller.conftest import Edgectl

pytestmark = pytest.mark.timeout(60)


def test_a_local_node_is_used_from_now_on(
    edgectl: Edgectl, home: Path, fleet: LocalFleet
) -> None:
    place = home / ".wskprops"
    place.write_text("# mine\nAPIVERSION=v1\nAPIHOST=elsewhere\n")

    used = edgectl("target", "use", "node2", "--json")
    shown = edgectl("target", "--json")

    assert used.code == 0, used
    node2 = fleet.status().nodes[1]
    assert used.json == {"name": "node2", "url": node2.url, "file": str(place)}
    assert place.read_text().startswith("# mine\nAPIVERSION=v1\nAPIHOST=http://")
    assert parse_properties(place.read_text())["AUTH"] == node2.key
    assert shown.json["origin"] == str(place)
    assert shown.json["targets"][0]["answers"] is True


def test_a_host_of_the_inventory_and_a_target_of_ones_own_have_names(
    edgectl: Edgectl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    props = home / "props"
    monkeypatch.setenv("WSK_CONFIG_FILE", str(props))
    folder = home / ".config/edgewhisk"
    folder.mkdir(parents=True)
    (folder / "inventory.yaml").write_text(
        "all: {hosts: {attic: {ansible_host: 192.0.2.1, edge_agent_key: 'u:k'}}}"
    )
    (folder / "targets.toml").write_text(
        '[cluster]\napihost = "ow.example"\nauth = "u:other"\ninsecure = true\n'
    )

    attic = edgectl("target", "use", "attic")
    after_attic = parse_properties(props.read_text())
    cluster = edgectl("target", "use", "cluster")
    after_cluster = parse_properties(props.read_text())
    nobody = edgectl("target", "use", "nobody")

    assert attic.code == cluster.code == 0
    assert after_attic["APIHOST"] == "http://192.0.2.1:3233"
    assert after_cluster == {
        "APIHOST": "https://ow.example",
        "AUTH": "u:other",
        "NAMESPACE": "_",
    }
    assert "wsk with -i" in cluster.err
    assert props.stat().st_mode & 0o777 == 0o600
    assert nobody.code == 2
    assert "there are: cluster, attic" in nobody.err


def test_a_mistake_in_the_targets_is_one_line(edgectl: Edgectl, home: Path) -> None:
    path = home / ".config/edgewhisk/targets.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[a]\napihost = "x"\n')

    said = edgectl("target", "use", "a")

    assert said.code == 2
    assert said.err == (
        f"error: {path}: Object missing required field `auth` - at `$[...]`\n"
    )
