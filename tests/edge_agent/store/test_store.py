"""Opening and closing: one file, one agent, private modes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.model.errors import SettingsError
from edge_agent.store.store import Store


async def test_the_database_and_the_node_key_are_readable_by_the_owner_only(
    store: Store, tmp_path: Path
) -> None:
    for name in ("state.db", "node.key"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o777 == 0o600


async def test_a_second_agent_on_the_same_folder_is_refused_by_name(
    store: Store, open_store: Callable[..., Store], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=rf"data_dir: {tmp_path}/data is in use"):
        async with open_store():
            pass


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_setting() -> None:
    from edge_agent.settings import Store as StoreSettings

    with pytest.raises(SettingsError, match="data_dir"):
        async with Store(Path("/proc/nothing/here"), StoreSettings()):
            pass


async def test_a_file_that_is_no_database_is_an_error_and_stays_as_it_was(
    open_store: Callable[..., Store], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError, match="cannot be opened"):
        async with open_store():
            pass
    assert (folder / "state.db").read_bytes() == b"not a database" * 100


async def test_the_lock_is_free_again_after_a_failed_opening(
    open_store: Callable[..., Store], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SettingsError):
        async with open_store():
            pass
    (folder / "state.db").unlink()
    async with open_store():
        pass


async def test_the_schema_counts_its_migrations(store: Store, tmp_path: Path) -> None:
    from edge_agent.store.schema import MIGRATIONS

    with sqlite3.connect(tmp_path / "data" / "state.db") as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert version == len(MIGRATIONS)
