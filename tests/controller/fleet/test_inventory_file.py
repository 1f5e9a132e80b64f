"""Hosts put into a file that a person wrote, and taken out of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.fleet.inventory import read_hosts
from controller.fleet.inventory_file import InventoryFile, new_inventory
from controller.fleet.inventory_place import InventoryError

NAMES = ("attic", "cellar", "shed", "barn")
STEPS = st.sampled_from((2, 3, 4))
QUICK = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def inventories(draw: st.DrawFn) -> str:
    """A file as people write them: any indentation, comments anywhere, both styles."""
    step = draw(STEPS)
    count = 0

    def note() -> str:
        nonlocal count
        count += 1
        return f"# note{count}"

    def lines(depth: int, text: str) -> list[str]:
        margin = " " * (depth * step)
        found = []
        if draw(st.booleans()):
            found.append(f"{margin}{note()}")
        end = f"  {note()}" if draw(st.booleans()) else ""
        return [*found, f"{margin}{text}{end}"]

    def host(depth: int, name: str) -> list[str]:
        form = draw(st.sampled_from(("empty", "flow", "block", "text")))
        if form == "empty":
            return lines(depth, f"{name}:")
        if form == "flow":
            return lines(depth, f"{name}: {{ansible_host: {name}.lan, n: [1, 2]}}")
        if form == "text":
            body = [*lines(depth, f"{name}:")]
            margin = " " * ((depth + 1) * step)
            return [*body, f"{margin}key: |", f"{margin}  one", f"{margin}  two"]
        body = lines(depth, f"{name}:") + lines(depth + 1, "ansible_host: x")
        return body + lines(depth + 1, "list:") + lines(depth + 2, "- 1")

    text = lines(0, "all:") + lines(1, "vars: {a: 1}") + lines(1, "hosts:")
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        text += host(2, name)
    text += lines(1, "children:") + lines(2, "pis:") + lines(3, "hosts:")
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        text += host(4, name)
    return "\n".join([*text, *(["# the end"] if draw(st.booleans()) else [])]) + "\n"


def notes(text: str) -> set[str]:
    return set(re.findall(r"# \w+.*", text))


def variables(path: Path) -> dict[str, object]:
    return {host.name: host.variables for host in read_hosts(path)}


@QUICK
@given(inventories(), st.sampled_from(NAMES))
def test_what_is_removed_is_gone_and_all_else_stays(
    tmp_path: Path, text: str, name: str
) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    before = variables(path)
    file = InventoryFile.open(path)

    removed = file.remove(name)
    file.save()

    assert removed == (name in before)
    assert variables(path) == {k: v for k, v in before.items() if k != name}
    after = path.read_text().splitlines()
    lines = iter(text.splitlines())
    assert all(line in lines for line in after)  # no line is new, their order stays
    lost = [line for line in text.splitlines() if line not in after]
    assert not any(line.lstrip().startswith("#") for line in lost if not removed)


@QUICK
@given(
    inventories(),
    st.sampled_from((*NAMES, "new")),
    st.sampled_from(("all", "pis", "fresh")),
)
def test_what_is_added_is_there_and_every_comment_stays(
    tmp_path: Path, text: str, name: str, group: str
) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    before = variables(path)
    file = InventoryFile.open(path)

    changed = file.add(name, {"ansible_host": "192.0.2.9", "port": 22}, group=group)
    file.save()
    again = InventoryFile.open(path).add(name, {"port": 22}, group=group)

    assert changed
    assert not again
    after = variables(path)
    assert {k: v for k, v in after.items() if k != name} == {
        k: v for k, v in before.items() if k != name
    }
    assert after[name]["ansible_host"] in {"192.0.2.9", "x", f"{name}.lan"}  # type: ignore[index]
    assert after[name]["port"] == 22  # type: ignore[index]
    assert notes(text) <= notes(path.read_text())


def test_the_first_inventory_takes_hosts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "inventory.yaml"
    new_inventory(path, user="pi")
    file = InventoryFile.open(path)
    file.add("attic", {"ansible_host": "192.0.2.11"})
    file.add("cellar", {})
    file.save()

    assert path.read_text().endswith(
        "  hosts:\n    attic:\n      ansible_host: 192.0.2.11\n    cellar:\n"
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert [host.variables["ansible_user"] for host in read_hosts(path)] == ["pi", "pi"]
    with pytest.raises(InventoryError, match="left alone"):
        new_inventory(path, user="pi")


def test_a_host_of_a_range_is_not_taken_out_of_it(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("all:\n  hosts:\n    pi[1:3]:\n")

    with pytest.raises(
        InventoryError, match=r":3: 'pi2' is part of the range pi\[1:3\]"
    ):
        InventoryFile.open(path).remove("pi2")


def test_hosts_on_one_line_are_edited_too(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("# mine\nall: {hosts: {attic: {a: 1}, cellar: }}  # both\n")
    file = InventoryFile.open(path)

    file.add("shed", {"b": 2})
    file.remove("attic")
    file.save()

    assert file.hosts == ["cellar", "shed"]
    assert path.read_text().startswith(
        "# mine\nall: {hosts: {cellar: null, shed: {b: 2}}}"
    )


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("all: {hosts: {a: }}\n")
    real.chmod(0o644)
    link = tmp_path / "inventory.yaml"
    link.symlink_to(real)
    file = InventoryFile.open(link)

    file.add("b", {})
    file.save()

    assert link.is_symlink()
    assert "b" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o644
