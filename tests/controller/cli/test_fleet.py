"""`edgectl fleet` and `edgectl apply`, as scripts see them, on real nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.local import LocalFleet
from tests.conftest import AgentFactory
from tests.controller.conftest import Edgectl

pytestmark = pytest.mark.timeout(60)
EXAMPLES = Path(__file__).parents[3] / "examples" / "manifests"


def put_nodes(edgectl: Edgectl, home: Path, agents: AgentFactory, count: int) -> Any:
    """An inventory of real agents, made by command, their keys beside it."""
    assert edgectl("fleet", "init").code == 0
    started = [agents() for _ in range(count)]
    for number, agent in enumerate(started, 1):
        port = agent.url.rpartition(":")[2]
        edgectl("fleet", "add", f"pi{number}", "127.0.0.1", "--port", port)
        keys = home / f".config/edgewhisk/host_vars/pi{number}/edge_agent.yaml"
        keys.parent.mkdir(parents=True)
        keys.write_text(
            f"edge_agent_key: {agent.key}\nedge_agent_system_key: {agent.system_key}\n"
        )
    return started


def test_an_inventory_is_made_listed_and_changed(edgectl: Edgectl, home: Path) -> None:
    missing = edgectl("fleet", "list")
    assert (missing.code, "edgectl fleet init" in missing.err) == (2, True)

    assert edgectl("fleet", "init", "--user", "ann").code == 0
    assert edgectl("fleet", "init").code == 2
    assert edgectl("fleet", "list").code == 2
    assert edgectl("fleet", "add", "attic", "192.0.2.1", "--group", "pis").code == 0
    again = edgectl("fleet", "add", "attic", "192.0.2.1", "--group", "pis", "--json")
    assert again.json == {"name": "attic", "changed": False}
    assert edgectl("fleet", "add", "a b").code == 2
    edgectl("fleet", "add", "cellar", "--var", "edge_agent_port=80")

    assert edgectl("fleet", "list", "--json").json == [
        {
            "name": "cellar",
            "url": "http://cellar:80",
            "groups": ["ungrouped"],
            "key": False,
            "system_key": False,
        },
        {
            "name": "attic",
            "url": "http://192.0.2.1:3233",
            "groups": ["pis"],
            "key": False,
            "system_key": False,
        },
    ]
    place = home / ".config/edgewhisk/inventory.yaml"
    assert "ansible_user: ann" in place.read_text()
    assert edgectl("fleet", "remove", "attic").code == 0
    gone = edgectl("fleet", "remove", "attic")
    assert (gone.code, "there are: cellar" in gone.err) == (2, True)


def test_the_variable_and_the_option_name_another_inventory(
    edgectl: Edgectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISK_INVENTORY", str(tmp_path / "named.yaml"))
    edgectl("fleet", "init")
    edgectl("fleet", "init", "-i", tmp_path / "given.yaml")

    assert (tmp_path / "named.yaml").exists()
    assert (tmp_path / "given.yaml").exists()


def test_a_broken_inventory_is_one_line_and_nothing_runs(
    edgectl: Edgectl, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("all:\n  hosts:\n    - attic\n")

    for command in ("list", "status"):
        said = edgectl("fleet", command, "-i", path)
        assert said.code == 2
        assert said.err.startswith(f"error: {path}:3: hosts of 'all' is not a mapping")
        assert said.err.count("\n") == 1


def test_status_shows_every_node_and_what_it_lacks(
    edgectl: Edgectl, home: Path, agent_factory: AgentFactory
) -> None:
    one, two = put_nodes(edgectl, home, agent_factory, 2)
    assert edgectl("apply", "-f", EXAMPLES / "station.yaml").code == 0
    edgectl("rule", "delete", "judge-readings", "--node", "pi2")

    up = edgectl("fleet", "status", "--json")
    two.stop()
    down = edgectl("fleet", "status", "--json")

    assert up.code == 0, up
    assert [node["name"] for node in up.json] == ["pi1", "pi2"]
    assert [node["differs"] for node in up.json] == [0, 1]
    assert all(abs(node["skew_ms"]) < 1000 for node in up.json)
    assert down.code == 1
    assert [node["up"] for node in down.json] == [True, False]
    assert "pi2: " in down.err
    assert one.process.poll() is None


def test_what_was_applied_is_applied_again_to_a_node_that_comes_later(
    edgectl: Edgectl, home: Path, agent_factory: AgentFactory, tmp_path: Path
) -> None:
    put_nodes(edgectl, home, agent_factory, 1)
    nothing = edgectl("apply")
    assert (nothing.code, "give -f MANIFEST" in nothing.err) == (2, True)
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "packages: {default: {actions: {a: {code: 'x = 1', runtime: python}}}}"
    )
    first = edgectl("apply", "-f", manifest, "--json")
    manifest.unlink()
    later = agent_factory()
    port = later.url.rpartition(":")[2]
    edgectl("fleet", "add", "late", "127.0.0.1", "--port", port)
    keys = home / ".config/edgewhisk/host_vars/late.yaml"
    keys.write_text(f"edge_agent_key: {later.key}\n")

    again = edgectl("apply", "--json")
    third = edgectl("apply")

    assert first.code == again.code == 0
    done = {node["name"]: node["done"] for node in again.json["nodes"]}
    assert done == {
        "pi1": [],
        "late": [
            {
                "op": "create",
                "collection": "actions",
                "name": "a",
                "reason": "not there",
            }
        ],
    }
    assert "nothing to change" in third.err


def test_check_shows_the_difference_and_changes_nothing(
    edgectl: Edgectl, fleet: LocalFleet
) -> None:
    checked = edgectl("apply", "-f", EXAMPLES / "station.yaml", "--check")
    listed = edgectl("action", "list", "--json")

    assert checked.code == 0
    assert "node1: + action station/judge (not there)" in checked.err
    assert listed.json == []
    assert not list(fleet.directory.glob("*.desired.json"))


def test_one_node_that_is_away_is_a_line_and_an_exit_code(
    edgectl: Edgectl, home: Path, agent_factory: AgentFactory
) -> None:
    _, two = put_nodes(edgectl, home, agent_factory, 2)
    two.stop()

    said = edgectl("apply", "-f", EXAMPLES / "station.yaml", "--json")

    here, away = said.json["nodes"]
    assert said.code == 1
    assert len(here["done"]) == 8
    assert "cannot connect" in away["away"]
    assert "error: pi2: " in said.err


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.yaml")))
@pytest.mark.broker
def test_the_examples_work_on_two_nodes(
    edgectl: Edgectl, home: Path, name: str
) -> None:
    local = LocalFleet(home / ".local/share/edgewhisk/local")
    local.up(2)
    try:
        first = edgectl("apply", "-f", EXAMPLES / name, "--json")
        second = edgectl("apply", "-f", EXAMPLES / name, "--json")
    finally:
        local.down()

    assert first.code == 0, first
    assert second.code == 0, second
    assert all(node["done"] for node in first.json["nodes"])
    assert not any(node["planned"] for node in second.json["nodes"])


def test_discover_lists_and_adds_what_is_new(edgectl: Edgectl, home: Path) -> None:
    asked = edgectl("fleet", "discover", "--add", "--interface", "127.0.0.1")
    assert (asked.code, "--yes" in asked.err) == (2, True)

    looked = edgectl(
        *("fleet", "discover", "--seconds", "0.5", "--interface", "127.0.0.1"),
        *("--add", "--yes", "--json"),
    )

    assert looked.code == 0, looked
    assert looked.json["found"] == json.loads(looked.out)["found"]
    assert (home / ".config/edgewhisk/inventory.yaml").exists()
