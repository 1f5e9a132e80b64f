"""Keys: random, looked up by hash, never in the file as they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.model.errors import SettingsError
from edge_agent.store.store import Store
from edge_agent.store.subjects import load_node_key


async def test_a_namespace_gets_a_key_once(open_store: Callable[..., Store]) -> None:
    async with open_store() as store:
        first = await store.subjects.ensure("guest")
    async with open_store() as store:
        assert await store.subjects.ensure("guest") == first
        assert len(first.key) == 64


async def test_only_the_right_credentials_are_known(store: Store) -> None:
    guest = await store.subjects.ensure("guest")
    assert store.subjects.by_key(guest.auth.encode()) == guest
    assert store.subjects.by_key(f"{guest.uuid}:{'x' * 64}".encode()) is None
    assert store.subjects.by_key(b"") is None


async def test_two_namespaces_have_two_keys(store: Store) -> None:
    guest = await store.subjects.ensure("guest")
    system = await store.subjects.ensure("whisk.system")
    assert guest.auth != system.auth
    assert store.subjects.by_namespace("whisk.system") == system


async def test_the_plain_key_is_in_none_of_the_files(
    open_store: Callable[..., Store], tmp_path: Path
) -> None:
    async with open_store() as store:
        guest = await store.subjects.ensure("guest")
    for file in (tmp_path / "data").iterdir():
        assert guest.key.encode() not in file.read_bytes()
    assert "***" in repr(guest)
    assert guest.key not in repr(guest)


def test_a_broken_node_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match=r"node\.key: not a node key"):
        load_node_key(tmp_path / "node.key")


async def test_another_node_s_key_is_told_with_the_way_out(
    open_store: Callable[..., Store], tmp_path: Path
) -> None:
    async with open_store() as store:
        await store.subjects.ensure("guest")
    (tmp_path / "data" / "node.key").write_bytes(b"x" * 32)

    with pytest.raises(SettingsError, match=r"node\.key is not the one .* put back"):
        async with open_store():
            pass


def test_a_node_key_is_made_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_node_key(tmp_path / "node.key")
    finally:
        os.umask(before)
    mode = subprocess.check_output(["stat", "-c", "%a", tmp_path / "node.key"])
    assert mode.strip() == b"600"
