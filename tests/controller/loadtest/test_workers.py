"""Workers on the hosts of a group; the host is this machine, by Ansible all the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.inventory_place import InventoryError
from controller.loadtest.errors import BadLoadtest, LoadtestError
from controller.loadtest.locust_run import ALONE, Crew, stay
from controller.loadtest.plan import Point
from controller.loadtest.workers import Group, workers
from tests.controller.loadtest.conftest import target_of

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    file = tmp_path / "inventory.yaml"
    file.write_text(json.dumps({"generators": {"hosts": {"here": host}}}))
    return file


def group(inventory: Path, **settings: str) -> Group:
    given = {"dir": str(inventory.parent / "worker"), "master_host": "127.0.0.1"}
    given |= {"python": sys.executable, **settings}
    named = {f"load_worker_{name}": value for name, value in given.items()}
    return Group(inventory, "generators", named)


def running(folder: Path) -> str:
    found = subprocess.run(
        ["pgrep", "-f", f"{folder}/loadtests --worker"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout


@pytest.mark.slow
def test_they_make_the_calls_and_nothing_of_them_stays(
    stand_in: Any, inventory: Path
) -> None:
    target = target_of(stand_in())
    folder = inventory.parent / "worker"
    point = Point("payload", "PayloadUser", 2, 2.0, options=("--payload-bytes", "17"))
    with workers(group(inventory), lambda _: None) as crew:
        assert (crew.workers, crew.local) == (1, False)
        assert running(folder)
        for _ in range(2):  # each point has a master of its own
            samples = stay(point, target, crew).samples
            assert {sample.name for sample in samples} == {"payload 17 B"}
            assert {sample.status for sample in samples} == {200}
    assert not folder.exists()
    deadline = time.monotonic() + 20
    while running(folder):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_processes_of_this_machine_share_the_clients(stand_in: Any) -> None:
    point = Point("payload", "PayloadUser", 4, 2.0, options=("--payload-bytes", "17"))
    samples = stay(point, target_of(stand_in()), Crew(2, local=True)).samples
    assert {sample.status for sample in samples} == {200}


def test_without_a_group_we_are_alone() -> None:
    with workers(None, lambda _: None) as crew:
        assert crew == ALONE


def test_a_group_that_is_not_there_is_named(inventory: Path) -> None:
    nobody = Group(inventory, "nobody", {})
    with (
        pytest.raises((BadLoadtest, InventoryError), match="nobody"),
        workers(nobody, lambda _: None),
    ):
        pass


def test_a_worker_that_cannot_start_says_where_and_why(inventory: Path) -> None:
    wrong = group(inventory, dir="/proc/nowhere")
    with (
        pytest.raises(LoadtestError, match="here: no worker: "),
        workers(wrong, lambda _: None),
    ):
        pass
