"""Control groups: found in trees of both versions, made, counted and removed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.model.activations import Cause
from edge_agent.sandbox.cgroup import Cgroups, Group, GroupMaker, find_cgroups
from edge_agent.sandbox.probe import probe_kernel

if TYPE_CHECKING:
    from edge_agent.sandbox.proxy import ProcessSandbox
    from tests.edge_agent.sandbox.conftest import Bench


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "self"
    path.write_text(text)
    return path


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    names = ("memory/m", "pids/p", "cpu/c")
    root = _tree(tmp_path / "cg", {f"{name}/cgroup.procs": "" for name in names})
    own = _own(tmp_path, "4:memory:/m\n8:pids:/p\n2:cpu,cpuacct:/c\n0::/\n")
    found = find_cgroups(root, self_cgroup=own)
    assert found == Cgroups(1, *(root / name for name in names[:2]), "", root / "cpu/c")


def test_version_2_has_one_tree_and_delegation_is_seen(tmp_path: Path) -> None:
    root = _tree(
        tmp_path / "cg",
        {
            "cgroup.controllers": "cpu memory pids",
            "system.slice/edge.service/cgroup.controllers": "cpu memory pids",
            "system.slice/small.service/cgroup.controllers": "memory",
            "system.slice/small.service/cgroup.procs": "1",
            "system.slice/edge.service/cgroup.procs": "1",
            "system.slice/other.service/cgroup.controllers": "cpu",
        },
    )
    place = root / "system.slice/edge.service"
    own = _own(tmp_path, "0::/system.slice/edge.service\n")
    assert find_cgroups(root, self_cgroup=own) == Cgroups(2, place, place, "", place)
    own = _own(tmp_path, "0::/system.slice/small.service\n")
    small = root / "system.slice/small.service"
    assert find_cgroups(root, self_cgroup=own) == Cgroups(2, small, None, "", None)
    own = _own(tmp_path, "0::/system.slice/other.service\n")
    found = find_cgroups(root, self_cgroup=own)
    assert (found.usable, found.reason) == (False, "not delegated")


def test_without_a_tree_the_reason_is_told(tmp_path: Path) -> None:
    found = find_cgroups(tmp_path, self_cgroup=tmp_path / "none")
    assert (found.usable, found.reason) == (False, "absent")


def test_version_2_groups_get_their_bounds_after_the_agent_has_moved(
    tmp_path: Path,
) -> None:
    place = _tree(
        tmp_path, {"cgroup.procs": "41\n", "cgroup.controllers": "memory pids"}
    )
    maker = GroupMaker(Cgroups(2, place, place, "", place), name="x")
    maker.prepare()
    parent = place / f"edgewhisk-{os.getpid()}-x"
    leaf = place / f"{parent.name}-agent"
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    for folder in (place, parent):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    group = maker.make("s1", memory_mb=128, processes=9)
    folder = parent / "s1"
    assert (folder / "memory.max").read_text() == str(128 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "pids.max").read_text() == "9"
    assert (folder / "cpu.weight").read_text() == "50"
    (folder / "memory.events").write_text("oom 1\noom_kill 0\n")
    assert not group.out_of_memory
    (folder / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.out_of_memory


def test_groups_of_dead_agents_are_removed_and_others_kept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    _tree(tmp_path, {"cgroup.procs": ""})
    (tmp_path / f"edgewhisk-{dead.pid}-a/s1").mkdir(parents=True)
    (tmp_path / f"edgewhisk-{os.getpid()}-b/s1").mkdir(parents=True)
    GroupMaker(Cgroups(1, tmp_path, tmp_path, ""), name="x").prepare()
    assert not (tmp_path / f"edgewhisk-{dead.pid}-a").exists()
    assert (tmp_path / f"edgewhisk-{os.getpid()}-b/s1").exists()


@pytest.mark.parametrize(
    ("version", "name", "memory_mb", "weight"),
    [
        (1, "cpu.shares", 256, "1024"),
        (1, "cpu.shares", 512, "2048"),
        (1, "cpu.shares", 0, "2"),
        (2, "cpu.weight", 256, "100"),
        (2, "cpu.weight", 99_999, "10000"),
    ],
)
def test_d12_a_sandbox_weighs_what_its_memory_does(
    tmp_path: Path, version: int, name: str, memory_mb: int, weight: str
) -> None:
    _tree(tmp_path, {"cgroup.procs": ""})
    maker = GroupMaker(Cgroups(version, None, None, "", tmp_path), name="x")
    maker.prepare()
    maker.make("s", processes=1, memory_mb=memory_mb)
    parent = tmp_path / f"edgewhisk-{os.getpid()}-x"
    assert (parent / "s" / name).read_text() == weight
    standard = {1: 1024, 2: 100}[version]
    assert (parent / name).read_text() == str(standard * (os.cpu_count() or 1))


def test_a_group_kills_what_has_left_its_session(tmp_path: Path) -> None:
    """Here by its list of processes; a kernel with version 2 does it in one write."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    _tree(tmp_path, {"cgroup.procs": f"{process.pid}\n"})
    Group(1, None, None, folders=[tmp_path]).kill()
    assert process.wait(5) == -9
    assert not (tmp_path / "cgroup.kill").exists()
    (tmp_path / "cgroup.kill").touch()
    Group(2, None, None, folders=[tmp_path]).kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"


def _needs_memory_groups() -> Path:
    memory = probe_kernel().cgroups.memory
    if memory is None:
        pytest.skip("no memory control group to write to here")
    return memory


@pytest.mark.sandbox
@pytest.mark.blocks_loop
async def test_the_kernel_bounds_the_memory_of_a_sandbox(held: Bench) -> None:
    place = _needs_memory_groups()
    code = (
        "def main(args):\n"
        "    kept = []\n"
        "    for _ in range(args['mb']): kept.append(b'x' * (1 << 20))\n"
        "    return {}\n"
    )
    sandbox = await held.ready(code)
    assert held.result(await held.run(sandbox, {"mb": 100})) == {}
    assert _group_of(sandbox).is_relative_to(place)
    assert held.cause(await held.run(sandbox, {"mb": 600})) == Cause.OUT_OF_MEMORY
    await sandbox.destroy()
    assert not _group_of(sandbox).exists()


@pytest.mark.sandbox
@pytest.mark.blocks_loop
async def test_memory_of_children_and_files_counts_too(held: Bench) -> None:
    _needs_memory_groups()
    code = (
        "import subprocess\n"
        "def main(args):\n"
        "    child = 'x = [bytes([n]) * (1 << 20) for n in range(200)]; print(len(x))'\n"
        "    two = [subprocess.Popen(['/usr/bin/python3', '-c', child + '; import time;"
        " time.sleep(2)']) for _ in range(2)]\n"
        "    return {'codes': [p.wait() for p in two]}\n"
    )
    sandbox = await held.ready(code)
    assert -9 in held.result(await held.run(sandbox))["codes"]


def _group_of(sandbox: ProcessSandbox) -> Path:
    group = sandbox._hold.group
    assert group is not None
    assert group.memory is not None
    return group.memory


@pytest.mark.sandbox
@pytest.mark.blocks_loop
async def test_no_group_is_left_after_many_sandboxes(held: Bench) -> None:
    place = _needs_memory_groups()
    code = "def main(args):\n    return {}\n"
    made = await asyncio.gather(*(held.ready(code) for _ in range(6)))
    assert all(_group_of(sandbox).exists() for sandbox in made)
    await held.factory.close()
    assert not list(place.glob(f"edgewhisk-{os.getpid()}*"))
