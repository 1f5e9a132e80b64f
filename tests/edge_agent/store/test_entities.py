"""Entities: one identifier space, code apart, taken back when the disk refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import UNSET

from edge_agent.model.entities import Action, Exec, Package, Reference, Rule, Trigger
from edge_agent.model.errors import Unavailable
from edge_agent.model.names import FullName
from edge_agent.store.store import Store

KIND = Exec(kind="python:3.11", binary=False)


def action(name: str, *, updated: int = 1, namespace: str = "guest") -> Action:
    return Action(namespace=namespace, name=name, exec=KIND, updated=updated)


def rule(name: str, trigger: str) -> Rule:
    return Rule(
        namespace="guest",
        name=name,
        trigger=Reference(path="guest", name=trigger),
        action=Reference(path="guest", name="a"),
    )


async def test_entities_and_code_survive_a_restart(
    open_store: Callable[..., Store],
) -> None:
    async with open_store() as store:
        await store.entities.put(action("a"), code="def main(a): return a")
        await store.entities.put(Trigger(namespace="guest", name="t"))
        await store.entities.put(rule("r", "t"))
    async with open_store() as store:
        found = store.entities.get(Action, FullName("guest", "a"))
        assert found == action("a")
        assert found.exec.code is UNSET
        assert await store.entities.code(found) == "def main(a): return a"
        assert store.entities.rules_of(FullName("guest", "t")) == [rule("r", "t")]


async def test_new_code_is_what_is_read_and_no_code_keeps_the_old(store: Store) -> None:
    await store.entities.put(action("a", updated=1), code="one")
    await store.entities.put(action("a", updated=2))
    assert await store.entities.code(action("a", updated=2)) == "one"
    await store.entities.put(action("a", updated=3), code="two")
    assert await store.entities.code(action("a", updated=3)) == "two"


async def test_a_name_is_looked_up_in_all_collections(store: Store) -> None:
    await store.entities.put(Package(namespace="guest", name="x"))
    name = FullName("guest", "x")
    assert isinstance(store.entities.find(name), Package)
    assert store.entities.get(Action, name) is None


async def test_a_list_is_newest_first_and_can_be_of_one_package(store: Store) -> None:
    await store.entities.put(action("old", updated=1))
    await store.entities.put(action("new", updated=3))
    await store.entities.put(action("mid", updated=2, namespace="guest/pkg"))
    names = [a.name for a in store.entities.list(Action, "guest")]
    assert names == ["new", "mid", "old"]
    packaged = store.entities.list(Action, "guest", package="pkg")
    assert [a.name for a in packaged] == ["mid"]


async def test_a_rule_that_moves_leaves_its_old_trigger(store: Store) -> None:
    await store.entities.put(rule("r", "t1"))
    await store.entities.put(rule("r", "t2"))
    assert store.entities.rules_of(FullName("guest", "t1")) == []
    assert len(store.entities.rules_of(FullName("guest", "t2"))) == 1


async def test_a_change_the_disk_refuses_is_taken_back(
    store: Store, tmp_path: Path
) -> None:
    await store.entities.put(action("a", updated=1), code="one")
    with sqlite3.connect(tmp_path / "data" / "state.db") as connection:
        connection.execute("DROP TABLE entity")
    connection.close()
    with pytest.raises(Unavailable):
        await store.entities.put(action("a", updated=2))
    with pytest.raises(Unavailable):
        await store.entities.delete(action("a"))
    assert store.entities.get(Action, FullName("guest", "a")) == action("a", updated=1)
