"""The store of a node: one SQLite file, opened once, by one agent at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_agent.model.errors import SettingsError, Unavailable
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.activations import ActivationStore, Retention
from edge_agent.store.apis import ApiStore
from edge_agent.store.backup import copy_store, node_id
from edge_agent.store.dead_letters import DeadLetters
from edge_agent.store.deaths import count_deaths
from edge_agent.store.dedup import Dedup
from edge_agent.store.entities import EntityStore
from edge_agent.store.inbox import Inbox
from edge_agent.store.inflight import Inflight
from edge_agent.store.overrides import OverrideStore
from edge_agent.store.reader import Reader
from edge_agent.store.schema import connect, prepare
from edge_agent.store.sources import SourceStore
from edge_agent.store.subjects import SubjectStore, load_node_key
from edge_agent.store.writer import Writer

DATABASE = "state.db"
LOCK = "state.lock"
NODE_KEY = "node.key"
INFLIGHT = "inflight"


class Store:
    """Everything that outlives the process, each part with its one owner.

    Async context manager; opening reads all that is held in memory.

    Raises:
        SettingsError: the folder cannot be used, or another agent uses it.
    """

    entities: EntityStore
    activations: ActivationStore
    inbox: Inbox
    dead_letters: DeadLetters
    dedup: Dedup
    inflight: Inflight
    subjects: SubjectStore
    sources: SourceStore
    apis: ApiStore
    overrides: OverrideStore

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self._folder = folder
        self._copying = asyncio.Lock()
        self._settings = settings

    async def __aenter__(self) -> Self:
        files = await asyncio.to_thread(_open, self._folder)
        try:
            self._build(files)
            await asyncio.to_thread(self._load, files.writing)
        except BaseException:
            files.close()
            raise
        self._files = files
        self.writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.close()
        await asyncio.to_thread(self._close)

    @property
    def node_id(self) -> str:
        """Twelve hexadecimal digits: the same for this data folder, no other's."""
        return node_id(self._files.node_key)

    @property
    def crowded(self) -> bool:
        """More waits to be written than may: `await room()` before making more."""
        return self.writer.pending_bytes > self._settings.pending_bytes

    async def room(self) -> None:
        """Raises Unavailable when the disk takes nothing."""
        await self.writer.room(self._settings.pending_bytes)

    async def copy(self, auth: str) -> int:
        """A descriptor of a backup, sealed with the system key `auth`; one at a time.

        All that was accepted before the call is in it.

        Raises:
            Unavailable: the disk has no room, or another copy is being made.
        """
        if self._copying.locked():
            raise Unavailable("backup: another one is being made")
        async with self._copying:
            await self.writer.flush()
            return await asyncio.to_thread(
                copy_store,
                self._folder / DATABASE,
                node_key=self._files.node_key,
                auth=auth,
            )

    def _build(self, files: _Files) -> None:
        self._retention = Retention(self._settings)
        lazy_s = self._settings.lazy_ms / 1000
        self.writer = Writer(files.writing, lazy_s=lazy_s, keeper=self._retention)
        self._reader = Reader(files.reading)
        self.entities = EntityStore(self.writer, self._reader)
        self.activations = ActivationStore(self.writer, self._reader)
        self.dedup = Dedup(self._settings)
        self.inbox = Inbox(
            self.writer, self._reader, self.activations, self.dedup, self._settings
        )
        self.dead_letters = DeadLetters(self.writer, self._reader, self._settings)
        self.inflight = files.inflight
        self.subjects = SubjectStore(self.writer, files.node_key)
        self.sources = SourceStore(self.writer, self._reader)
        self.apis = ApiStore(self.writer)
        self.overrides = OverrideStore(self.writer)

    def _load(self, connection: sqlite3.Connection) -> None:
        count_deaths(connection, self.inflight)
        for part in (
            self._retention,
            self.entities,
            self.inbox,
            self.dead_letters,
            self.dedup,
            self.subjects,
            self.sources,
            self.apis,
            self.overrides,
        ):
            part.load(connection)

    def _close(self) -> None:
        self._reader.close()
        self._files.close()


@dataclass(frozen=True, slots=True)
class _Files:
    """What is open while the store is."""

    lock: int
    node_key: bytes
    writing: sqlite3.Connection
    reading: sqlite3.Connection
    inflight: Inflight

    def close(self) -> None:
        self.inflight.close()
        self.reading.close()
        self.writing.close()
        os.close(self.lock)


def _open(folder: Path) -> _Files:
    path = folder / DATABASE
    lock = lock_folder(folder)
    try:
        node_key = load_node_key(folder / NODE_KEY)
        path.touch(mode=0o600)
        path.chmod(0o600)
        writing = connect(path)
        prepare(writing)
        reading = connect(path, read_only=True)
        inflight = Inflight(folder / INFLIGHT)
        return _Files(lock, node_key, writing, reading, inflight)
    except (sqlite3.Error, OSError) as error:
        os.close(lock)
        raise SettingsError(f"{path}: cannot be opened: {error}") from error
    except SettingsError:
        os.close(lock)
        raise


def is_locked(folder: Path) -> bool:
    """Whether an agent uses the folder now."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def lock_folder(folder: Path) -> int:
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
