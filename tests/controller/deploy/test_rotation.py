"""New keys while the former ones still open."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from controller.deploy.identity import KEY, SYSTEM_KEY, fleet_file, host_file, kept_key
from controller.deploy.rotation import RotationError, drop_former_keys, renew_keys


def test_keys_are_replaced_and_the_former_are_kept_until_they_are_dropped(
    tmp_path: Path,
) -> None:
    first = kept_key(fleet_file(tmp_path), KEY)
    own = kept_key(host_file(tmp_path, "attic"), SYSTEM_KEY)

    renew_keys(tmp_path, ["attic"])
    between = yaml.safe_load(fleet_file(tmp_path).read_text())
    node = yaml.safe_load(host_file(tmp_path, "attic").read_text())
    with pytest.raises(RotationError, match="--finish"):
        renew_keys(tmp_path, ["attic"])
    drop_former_keys(tmp_path, ["attic"])
    after = yaml.safe_load(fleet_file(tmp_path).read_text())

    assert between["edge_agent_former_keys"] == [first]
    assert node["edge_agent_former_system_keys"] == [own]
    assert between[KEY] != first
    assert after == {KEY: between[KEY]}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RotationError, match="run `edgectl deploy` first"):
        renew_keys(tmp_path, ["attic"])
