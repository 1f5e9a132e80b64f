"""A data folder made what a backup says, while no agent uses it.

Every step can be cut off: until the last one the old store stands, and a restore that
was cut off is simply done again. What was there before is kept once, in a folder
beside.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge_agent.model.errors import SettingsError
from edge_agent.store.backup import (
    BEFORE,
    NEW,
    Origin,
    forget_origin,
    open_backup,
    waiting_in,
)
from edge_agent.store.store import DATABASE, INFLIGHT, NODE_KEY, lock_folder


def restore(folder: Path, backup: Path, *, auth: str | None, discard: bool) -> Origin:
    """Put the backup in the place of what the folder holds.

    Args:
        folder: a node's data folder; made where there is none.
        backup: what `GET /edge/v1/backup` gave.
        auth: the system key it was made with; needed where the node's key is another.
        discard: drop accepted events that wait in the present store.

    Raises:
        SettingsError: an agent uses the folder, the backup cannot be used, or accepted
            events wait.
    """
    lock = lock_folder(folder)
    new = folder / NEW
    try:
        present = folder / NODE_KEY
        key = present.read_bytes() if present.exists() else None
        _copy_in(backup, new)
        origin = open_backup(new, present_key=key, auth=auth)
        _keep_present(folder, discard=discard)
        forget_origin(new)
        _replace(folder, new, origin.node_key)
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be restored: {error}") from error
    finally:
        new.unlink(missing_ok=True)
        os.close(lock)
    return origin


def _copy_in(backup: Path, new: Path) -> None:
    new.unlink(missing_ok=True)
    try:
        source = backup.open("rb")
    except OSError as error:
        raise SettingsError(f"{backup}: cannot be read: {error.strerror}") from error
    with source, open(os.open(new, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as target:  # noqa: PTH123 os.open set its mode
        shutil.copyfileobj(source, target)


def _keep_present(folder: Path, *, discard: bool) -> None:
    database = folder / DATABASE
    if not database.exists():
        return
    waiting = waiting_in(database)
    if waiting and not discard:
        raise SettingsError(
            f"{folder}: {waiting} accepted events wait there and would be dropped;"
            " let the agent finish them, or give --discard"
        )
    before = folder / BEFORE
    before.mkdir(mode=0o700, exist_ok=True)
    for name in (DATABASE, NODE_KEY):
        (before / name).unlink(missing_ok=True)
        if (folder / name).exists():
            os.link(folder / name, before / name)


def _replace(folder: Path, new: Path, node_key: bytes) -> None:
    (folder / INFLIGHT).unlink(missing_ok=True)  # its marks are the old store's rows
    key = folder / f"{NODE_KEY}.new"
    with open(os.open(key, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:  # noqa: PTH123
        file.write(node_key)
        file.flush()
        os.fsync(file.fileno())
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder / name).unlink(missing_ok=True)
    key.replace(folder / NODE_KEY)
    descriptor = os.open(new, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    new.replace(folder / DATABASE)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
