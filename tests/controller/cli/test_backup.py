"""`edgectl backup` and `edgectl restore`, on real nodes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from controller.local import LocalFleet
from tests.controller.conftest import Edgectl

pytestmark = pytest.mark.timeout(90)
HELLO = "def main(args):\n    return {'n': args.get('n')}\n"


def test_a_node_is_what_it_was_even_after_it_was_flashed(
    edgectl: Edgectl, fleet: LocalFleet, tmp_path: Path
) -> None:
    code = tmp_path / "hello.py"
    code.write_text(HELLO)
    edgectl("action", "put", "hello", code, "--node", "node1")
    before = fleet.status().nodes[0]
    place = tmp_path / "node1.db"

    made = edgectl("backup", "node1", "-o", place, "--json")
    fleet.stop("node1")
    shutil.rmtree(before.data)
    fleet.start("node1")
    flashed = edgectl("action", "list", "--node", "node1", "--json").json
    refused = edgectl("restore", "node1", place)
    key = ("--system-auth", before.system_key)
    restored = edgectl("restore", "node1", place, *key)
    again = fleet.status().nodes[0]

    assert made.code == 0, made
    assert made.json["bytes"] == place.stat().st_size
    assert place.stat().st_mode & 0o777 == 0o600
    assert flashed == []
    # A local fleet forgets the key of the node that was; an inventory keeps it.
    assert refused.code == 1
    assert "another system key" in refused.err
    assert restored.code == 0, restored
    assert (again.key, again.system_key) == (before.key, before.system_key)
    (action,) = edgectl("action", "list", "--node", "node1", "--json").json
    assert action["name"] == "hello"


def test_a_restore_takes_back_what_was_done_since(
    edgectl: Edgectl, fleet: LocalFleet, tmp_path: Path
) -> None:
    code = tmp_path / "hello.py"
    code.write_text(HELLO)
    edgectl("action", "put", "hello", code, "--node", "node1")
    place = tmp_path / "node1.db"
    edgectl("backup", "node1", "-o", place)
    edgectl("action", "delete", "hello", "--node", "node1")

    restored = edgectl("restore", "node1", place)
    said = edgectl("action", "invoke", "hello", "-p", "n", "7", "--node", "node1", "-r")

    assert restored.code == 0, restored
    assert said.json == {"n": 7}


def test_what_cannot_be_backed_up_or_restored_is_one_line(
    edgectl: Edgectl, fleet: LocalFleet, tmp_path: Path
) -> None:
    nobody = edgectl("backup", "nobody")
    missing = edgectl("restore", "node1", tmp_path / "none.db")
    text = tmp_path / "text.db"
    text.write_text("no database " * 100)
    broken = edgectl("restore", "node1", text)
    namespace = edgectl("backup", "node1", "--system-auth", fleet.status().nodes[0].key)

    assert (nobody.code, missing.code, broken.code) == (2, 2, 1)
    assert "not a backup" in broken.err
    assert namespace.code == 1
    assert not list(tmp_path.glob("*.part"))
    assert all(node.runs for node in fleet.status().nodes)
