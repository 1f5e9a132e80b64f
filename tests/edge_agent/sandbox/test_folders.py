"""The factory's folder lives as long as its agent."""

from __future__ import annotations

from pathlib import Path

from edge_agent.sandbox.folders import make_folder


def test_a_folder_can_be_passed_through_but_not_listed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o711
    assert folder.launchers.is_dir()
    folder.remove()
    assert not folder.path.exists()


def test_folders_of_the_dead_are_cleared_and_those_of_the_living_kept(
    tmp_path: Path,
) -> None:
    living, dead = make_folder(tmp_path), make_folder(tmp_path)
    (tmp_path / "edgewhisk-without-lock").mkdir()
    (dead.path / "work").mkdir()
    dead.unlock()
    new = make_folder(tmp_path)
    assert not dead.path.exists()
    assert living.path.exists()
    assert (tmp_path / "edgewhisk-without-lock").exists()
    living.remove()
    new.remove()
