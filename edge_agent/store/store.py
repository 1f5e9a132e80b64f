"""The store of a node: one SQLite file, opened once, by one agent at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Self

from edge_agent.model.errors import SettingsError
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.activations import ActivationStore, Retention
from edge_agent.store.entities import EntityStore
from edge_agent.store.inbox import Inbox
from edge_agent.store.reader import Reader
from edge_agent.store.schema import connect, prepare
from edge_agent.store.sources import SourceStore
from edge_agent.store.subjects import SubjectStore, load_node_key
from edge_agent.store.writer import Writer

DATABASE = "state.db"
LOCK = "state.lock"
NODE_KEY = "node.key"


class Store:
    """Everything that outlives the process, each part with its one owner.

    Async context manager; opening reads all that is held in memory.

    Raises:
        SettingsError: the folder cannot be used, or another agent uses it.
    """

    entities: EntityStore
    activations: ActivationStore
    inbox: Inbox
    subjects: SubjectStore
    sources: SourceStore

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self._folder = folder
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._lock = _lock(self._folder)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise
        self.writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.close()
        self._reader.close()
        os.close(self._lock)

    def _open(self) -> None:
        path = self._folder / DATABASE
        node_key = load_node_key(self._folder / NODE_KEY)
        path.touch(mode=0o600)
        path.chmod(0o600)
        try:
            connection = connect(path)
            prepare(connection)
            self._build(connection, path, node_key)
        except sqlite3.Error as error:
            raise SettingsError(f"{path}: cannot be opened: {error}") from error

    def _build(
        self, connection: sqlite3.Connection, path: Path, node_key: bytes
    ) -> None:
        retention = Retention(self._settings)
        self.writer = Writer(
            connection, lazy_s=self._settings.lazy_ms / 1000, trim=retention
        )
        self._reader = Reader(connect(path, read_only=True))
        self.entities = EntityStore(self.writer, self._reader)
        self.activations = ActivationStore(self.writer, self._reader)
        self.inbox = Inbox(self.writer, self._reader, self.activations, self._settings)
        self.subjects = SubjectStore(self.writer, node_key)
        self.sources = SourceStore(self.writer, self._reader)
        retention.load(connection)
        self.entities.load(connection)
        self.activations.load(connection)
        self.inbox.load(connection)
        self.subjects.load(connection)
        self.sources.load(connection)


def _lock(folder: Path) -> int:
    """Hold the folder's lock file; the kernel frees it however we end."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(f"data_dir: {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SettingsError(
            f"data_dir: {folder} is in use by another agent; stop it or name another"
        ) from error
    return descriptor
