"""`edgectl deploy` as a script sees it; `tests/hosts` has it on a real machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Nothing listens on port 1: an unreachable host without a network.
CLOSED = "all: {hosts: {attic: {ansible_host: 127.0.0.1, ansible_port: 1}}}"


def deploy(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller", "deploy", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOME": str(home), "XDG_STATE_HOME": ""},
    )


@pytest.mark.timeout(60)
def test_an_unreachable_host_is_exit_1_with_its_reason_and_a_log(
    tmp_path: Path,
) -> None:
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text(CLOSED)

    done = deploy(tmp_path, "-i", str(inventory), "--json")

    document = json.loads(done.stdout)
    attic = document["hosts"]["attic"]
    assert done.returncode == 1, done.stderr
    assert attic["unreachable"] == 1
    assert "Connection refused" in attic["reason"]
    assert "UNREACHABLE" in Path(document["log"]).read_text()
    assert Path(document["log"]).is_relative_to(tmp_path)


@pytest.mark.timeout(60)
def test_wrong_input_is_exit_2_in_one_line_and_runs_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("all:\n  hosts:\n    - attic\n")
    empty = tmp_path / "wheels"
    empty.mkdir()
    good = tmp_path / "fleet.yaml"
    good.write_text(CLOSED)
    cases = {
        ("-i", str(broken)): f"error: {broken}:3: hosts of 'all' is not a mapping",
        ("-i", str(tmp_path / "none.yaml")): "no such file",
        ("-i", str(good), "--limit", "barn"): "--limit barn matches none",
        ("-i", str(good), "--wheelhouse", str(empty)): "no wheels there",
        (): "no inventory: make one with `edgectl fleet init`",
    }

    for arguments, said in cases.items():
        done = deploy(tmp_path, *arguments)

        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not done.stdout
    assert not (tmp_path / ".local").exists()


@pytest.mark.timeout(60)
def test_without_i_the_usual_inventory_is_taken(tmp_path: Path) -> None:
    usual = tmp_path / ".config" / "edgewhisk" / "inventory.yaml"
    usual.parent.mkdir(parents=True)
    usual.write_text(CLOSED)

    done = deploy(tmp_path, "--json", "--check")

    assert done.returncode == 1
    assert json.loads(done.stdout)["hosts"].keys() == {"attic"}
