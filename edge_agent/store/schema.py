"""The tables of state.db, and how an older file becomes the present one.

Migrations only add: the previous release must be able to read what this one wrote, so
that a release can be rolled back. `user_version` counts them.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

BUSY_TIMEOUT_S = 10.0
CACHE_KIB = 2048
#: Pages of the write-ahead log before it is folded back (4 MB).
CHECKPOINT_PAGES = 1000

MIGRATIONS = (
    """
    CREATE TABLE entity (
        key TEXT PRIMARY KEY, collection TEXT NOT NULL, doc BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE code (key TEXT PRIMARY KEY, code TEXT NOT NULL);
    CREATE TABLE activation (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, namespace TEXT NOT NULL,
        name TEXT NOT NULL, start INTEGER NOT NULL, doc BLOB NOT NULL
    );
    CREATE UNIQUE INDEX activation_id ON activation (id);
    CREATE INDEX activation_start ON activation (namespace, start);
    CREATE TABLE inbox (seq INTEGER PRIMARY KEY, doc BLOB NOT NULL);
    CREATE TABLE outbox (id TEXT PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE subject (
        uuid TEXT PRIMARY KEY, subject TEXT NOT NULL, namespace TEXT NOT NULL UNIQUE,
        key_hash BLOB NOT NULL, key_cipher BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE subscription (
        id TEXT PRIMARY KEY, feed TEXT NOT NULL, doc BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE inbox ADD COLUMN line TEXT;
    CREATE INDEX inbox_line ON inbox (line, seq) WHERE line IS NOT NULL;
    CREATE TABLE attempt (
        seq INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, doc BLOB NOT NULL
    );
    CREATE INDEX attempt_due ON attempt (due_ms);
    CREATE TABLE dead_letter (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL,
        doc BLOB NOT NULL
    );
    CREATE TABLE seen (key BLOB PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE source_note (
        key TEXT PRIMARY KEY, seq INTEGER NOT NULL, doc BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE api (
        namespace TEXT NOT NULL, base_path TEXT NOT NULL, doc BLOB NOT NULL,
        PRIMARY KEY (namespace, base_path)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE activation ADD COLUMN bound TEXT;
    """,
    """
    CREATE TABLE blocked (subject TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE override (key TEXT PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE namespace_limits (
        namespace TEXT PRIMARY KEY, doc BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE activation ADD COLUMN result_in TEXT;
    """,
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open `path` the way every connection of ours is opened; autocommit mode."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    # Debian's SQLite fills freed pages with zeros, which is to write all that is
    # deleted once more: of a page that is written anyway only.
    connection.execute("PRAGMA secure_delete=FAST")
    # What a statement of many rows would need to be undone, else in a file.
    connection.execute("PRAGMA temp_store=MEMORY")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Make the file ours: write-ahead log, incremental vacuum, newest schema."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute("PRAGMA synchronous=FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;"
        )
