"""`edgectl settings` on two real nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.timeout(90), pytest.mark.usefixtures("fleet")]

Edgectl = Callable[..., Any]
MEMORY = "pool.memory_mb"


def test_settings_are_listed_overridden_and_taken_back(edgectl: Edgectl) -> None:
    listed = edgectl("settings", "list", "--json").json
    assert [each["node"] for each in listed] == ["node1", "node2"]
    before = [each["settings"][MEMORY]["value"] for each in listed]

    changed = edgectl("settings", "set", f"{MEMORY}=384", "--node", "node1", "--json")
    assert changed.json[0]["settings"][MEMORY] == {
        "value": 384,
        "origin": "override",
        "otherwise": before[0],
    }
    assert (
        f"{MEMORY}\t384\toverride\t{before[0]}\tnode1"
        in edgectl("settings", "list").out
    )
    edgectl("settings", "unset", MEMORY)
    edgectl("settings", "set", "limits.sequence_length=100")
    taken_back = edgectl("settings", "unset", "--all", "--json").json
    assert [each["settings"][MEMORY]["value"] for each in taken_back] == before
    assert {one["origin"] for one in taken_back[0]["settings"].values()} <= {
        "default",
        "file",
    }


def test_a_wrong_setting_is_named(edgectl: Edgectl) -> None:
    for wrong in ("pool.colour=1", f"{MEMORY}=many", MEMORY):
        said = edgectl("settings", "set", wrong)
        assert said.code == 2, said
        assert wrong.partition("=")[0] in said.err
    assert edgectl("settings", "unset").code == 2
