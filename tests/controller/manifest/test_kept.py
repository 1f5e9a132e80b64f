"""What was applied is kept for the nodes that come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.manifest.desired import (
    AnyWanted,
    Desired,
    WantedAction,
    WantedPackage,
    WantedRule,
    WantedTrigger,
)
from controller.manifest.kept import KeptError, keep, place_of, read_kept
from edge_agent.model.entities import Exec

EVERYTHING: list[AnyWanted] = [
    WantedPackage(name="p", parameters={"a": [1]}),
    WantedAction(name="p/a", exec=Exec(kind="python", code="x")),
    WantedTrigger(name="t", feed="/f", parameters={"b": None}),
    WantedRule(name="r", trigger="/_/t", action="/_/p/a"),
]


def of(project: str, *, empty: bool = False) -> Desired:
    entities = [] if empty else EVERYTHING
    return Desired(project=project, named=True, file="m.yaml", entities=entities)


def test_each_project_is_kept_once_and_an_empty_one_is_forgotten(
    tmp_path: Path,
) -> None:
    place = tmp_path / "deep" / "inventory.desired.json"
    assert read_kept(place) == []

    keep(place, of("one"))
    keep(place, of("two"))
    keep(place, of("one"))
    assert read_kept(place) == [of("two"), of("one")]
    assert place.stat().st_mode & 0o777 == 0o600

    keep(place, of("two", empty=True))
    assert read_kept(place) == [of("one")]


def test_the_place_is_beside_the_inventory_and_never_inside_a_folder(
    tmp_path: Path,
) -> None:
    assert place_of(tmp_path / "fleet.yaml") == tmp_path / "fleet.desired.json"
    (tmp_path / "inventory").mkdir()
    assert place_of(tmp_path / "inventory") == tmp_path / "inventory.desired.json"


def test_a_broken_state_is_told_and_replaced_by_the_next(tmp_path: Path) -> None:
    place = tmp_path / "x.desired.json"
    place.write_text("{")
    with pytest.raises(KeptError, match="apply the manifests again"):
        read_kept(place)

    keep(place, of("one"))

    assert read_kept(place) == [of("one")]
