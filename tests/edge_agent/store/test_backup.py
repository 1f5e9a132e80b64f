"""Backups of a store in use, and folders restored from them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.model.entities import Trigger
from edge_agent.model.errors import SettingsError, Unavailable
from edge_agent.model.names import FullName
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.restore import restore
from edge_agent.store.store import Store

AUTH = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:system"


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    async with Store(folder, StoreSettings()) as store:
        yield store


async def backup_of(store: Store, place: Path) -> Path:
    descriptor = await store.copy(AUTH)
    with os.fdopen(descriptor, "rb") as copy:
        place.write_bytes(copy.read())
    return place


def trigger(name: str) -> Trigger:
    return Trigger(namespace="guest", name=name)


async def restored(folder: Path, backup: Path, auth: str | None = None) -> None:
    await asyncio.to_thread(restore, folder, backup, auth=auth, discard=False)


async def test_what_was_committed_before_is_in_it_and_keys_open_again(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "one") as store:
        await store.entities.put(trigger("before"))
        key = (await store.subjects.ensure("guest")).auth
        backup = await backup_of(store, tmp_path / "backup")
        await store.entities.put(trigger("after"))
        with pytest.raises(SettingsError, match="in use"):
            await restored(tmp_path / "one", backup)

    await restored(tmp_path / "one", backup)

    async with opened(tmp_path / "one") as store:
        assert store.entities.find(FullName("guest", "before"))
        assert store.entities.find(FullName("guest", "after")) is None
        assert (await store.subjects.ensure("guest")).auth == key
    assert (tmp_path / "one" / "before-restore" / "state.db").exists()
    assert not list((tmp_path / "one").glob("*.tmp"))


async def test_a_node_flashed_anew_is_itself_again_with_its_system_key(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "old") as store:
        key, identity = (await store.subjects.ensure("guest")).auth, store.node_id
        backup = await backup_of(store, tmp_path / "backup")
    async with opened(tmp_path / "new") as store:
        assert store.node_id != identity

    for auth, said in ((None, "system key it was made with"), ("u:x", "another")):
        with pytest.raises(SettingsError, match=said):
            await restored(tmp_path / "new", backup, auth)
    await restored(tmp_path / "new", backup, AUTH)
    await restored(tmp_path / "nowhere" / "yet", backup, AUTH)

    for folder in (tmp_path / "new", tmp_path / "nowhere" / "yet"):
        async with opened(folder) as store:
            assert (await store.subjects.ensure("guest")).auth == key
            assert store.node_id == identity
    assert AUTH.encode() not in backup.read_bytes()
    assert key.encode() not in backup.read_bytes()


async def test_accepted_events_that_wait_are_not_dropped_unless_it_is_said(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "node"
    async with opened(folder) as store:
        backup = await backup_of(store, tmp_path / "backup")
    database = sqlite3.connect(folder / "state.db")
    database.execute("INSERT INTO inbox (seq, doc) VALUES (1, x'00')")
    database.commit()
    database.close()

    with pytest.raises(SettingsError, match="1 accepted events wait"):
        await restored(folder, backup)
    await asyncio.to_thread(restore, folder, backup, auth=None, discard=True)

    async with opened(folder) as store:
        assert store.inbox.depth == 0


async def test_a_backup_that_is_none_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    async with opened(folder) as store:
        await store.entities.put(trigger("kept"))
        backup = await backup_of(store, tmp_path / "backup")
    text = tmp_path / "text"
    text.write_text("no database at all" * 100)
    cut = tmp_path / "cut"
    cut.write_bytes(backup.read_bytes()[:5000])
    newer = tmp_path / "newer"
    newer.write_bytes(backup.read_bytes())
    database = sqlite3.connect(newer)
    database.execute("PRAGMA user_version=99")
    database.close()

    for wrong, said in (
        (text, "not a backup"),
        (cut, "damaged"),
        (folder / "state.db", "not a backup"),
        (newer, "newer release"),
        (tmp_path / "missing", "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=said):
            await restored(folder, wrong, AUTH)

    async with opened(folder) as store:
        assert store.entities.find(FullName("guest", "kept"))


async def test_one_backup_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path / "node") as store:
        done = await asyncio.gather(
            store.copy(AUTH), store.copy(AUTH), return_exceptions=True
        )
        descriptors = [one for one in done if isinstance(one, int)]
        for descriptor in descriptors:
            os.close(descriptor)

    assert len(descriptors) == 1
    assert any(isinstance(one, Unavailable) for one in done)
    assert not list((tmp_path / "node").glob("*.tmp"))
