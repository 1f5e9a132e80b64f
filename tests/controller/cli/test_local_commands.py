"""`edgectl local`: the shapes that scripts rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(90)
NODE = {"name", "url", "key", "system_key", "pid", "data", "log"}


@pytest.mark.broker
def test_the_documents_have_the_promised_shape(edgectl: Any, tmp_path: Path) -> None:
    place = ("--dir", tmp_path / "fleet")
    up = edgectl("local", "up", "--nodes", 1, *place, "--json")
    try:
        assert up.code == 0
        assert up.json.keys() == {"dir", "nodes", "broker"}
        assert up.json["dir"] == str(tmp_path / "fleet")
        assert [node.keys() for node in up.json["nodes"]] == [NODE]
        assert up.json["broker"].keys() == {"host", "port"}
        assert "is up already" in edgectl("local", "up", *place).err

        stopped = edgectl("local", "stop", "node1", *place, "--json").json
        assert stopped["nodes"][0].keys() == NODE | {"state"}
        assert stopped["nodes"][0]["state"] == "down"
        assert stopped["broker"].keys() == {"host", "port", "state"}
        started = edgectl("local", "start", "node1", *place, "--json").json
        assert started["nodes"][0]["state"] == "up"
        assert started["nodes"][0]["url"] == up.json["nodes"][0]["url"]
        lines = edgectl("local", "status", *place).out.splitlines()
        assert [line.split("\t")[:2] for line in lines] == [
            ["node1", "up"],
            ["broker", "up"],
        ]
        assert edgectl("local", "stop", "pi", *place).code == 2
    finally:
        down = edgectl("local", "down", *place, "--json")
    assert {n["state"] for n in down.json["nodes"]} == {"down"}
    assert down.json["broker"]["state"] == "down"


def test_without_a_fleet_status_and_down_say_so(edgectl: Any) -> None:
    for command in ("status", "down"):
        said = edgectl("local", command, "--json")
        assert (said.code, said.json["nodes"], said.json["broker"]) == (0, [], None)
        assert "no fleet in" in said.err


def test_a_fleet_without_broker_has_none(edgectl: Any, tmp_path: Path) -> None:
    place = ("--dir", tmp_path / "fleet")
    up = edgectl("local", "up", "--nodes", 1, "--no-broker", *place, "--json")
    edgectl("local", "down", *place)
    assert up.json["broker"] is None
