"""Copies of the store while it is in use, and stores made of copies.

A backup is one SQLite file: the whole store as it was at one moment, everything that
had been accepted by then included, and a table `backup` that says where it is from.
The keys in it are ciphertext under the node's key file (see `subjects`); that key goes
along, sealed with the system key of who asked. So a stolen backup opens no node, and on
a node that was flashed anew the system key, which the fleet's inventory keeps, opens
it all. (What is no key, such as code and records, is plain: keep it as you keep them.)

What is not in it: what the settings name (certificates, secrets), and which rows ran.
Work that waited in the inbox when the copy was made waits in it again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from edge_agent import __version__
from edge_agent.model.errors import SettingsError, Unavailable
from edge_agent.store.schema import MIGRATIONS, connect

COPY = "backup.tmp"
NEW = "restore.tmp"
#: Where a restore keeps what was there before it.
BEFORE = "before-restore"
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TABLE = """
CREATE TABLE backup (
    node_id TEXT NOT NULL, made_ms INTEGER NOT NULL, release TEXT NOT NULL,
    sealed_key BLOB NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a backup is from, and its node's key."""

    node_id: str
    made_ms: int
    release: str
    node_key: bytes


def node_id(node_key: bytes) -> str:
    """Twelve hexadecimal digits: the same for this data folder, no other's."""
    return hashlib.sha256(b"node id" + node_key).hexdigest()[:12]


def copy_store(database: Path, *, node_key: bytes, auth: str) -> int:
    """A descriptor of a copy that has no name any more: it goes when it is closed.

    Takes a while; the store may be written meanwhile.

    Raises:
        Unavailable: the disk has no room for it.
    """
    copy = database.with_name(COPY)
    copy.unlink(missing_ok=True)
    _check_room(database)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        _copy(database, copy)
        _describe(copy, node_key, auth)
        return os.open(copy, os.O_RDONLY)
    except sqlite3.Error as error:
        raise Unavailable(f"backup: {error}") from error
    finally:
        copy.unlink(missing_ok=True)


def open_backup(path: Path, *, present_key: bytes | None, auth: str | None) -> Origin:
    """Check a backup and find its node's key: the present one, or the sealed one.

    Raises:
        SettingsError: it is none, is damaged, is of a newer release, or cannot be
            opened with `auth`.
    """
    try:
        connection = sqlite3.connect(path)
        try:
            row = _read(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SettingsError(f"{path}: not a backup, or damaged: {error}") from error
    found_id, made_ms, release, sealed = row
    if present_key is not None and node_id(present_key) == found_id:
        return Origin(found_id, made_ms, release, present_key)
    return Origin(found_id, made_ms, release, _unsealed(sealed, auth, path))


def forget_origin(path: Path) -> None:
    """Make the backup a store like any other, all of it on disk."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("DROP TABLE backup")
    connection.close()


def waiting_in(database: Path) -> int:
    """How many accepted events wait in a store that no agent uses.

    Its write-ahead log is folded into it, so that the one file is the store.
    """
    connection = connect(database)
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
        (count,) = connection.execute("SELECT count(*) FROM inbox").fetchone()
        return int(count)
    except sqlite3.Error:  # no store of ours, or a broken one: nothing to lose
        return 0
    finally:
        connection.close()


def _check_room(database: Path) -> None:
    needed = sum(
        file.stat().st_size for file in database.parent.glob(f"{database.name}*")
    )
    if shutil.disk_usage(database.parent).free < needed * 1.1:
        raise Unavailable(f"backup: the disk has no {needed} bytes for a copy")


def _copy(database: Path, copy: Path) -> None:
    """One read transaction: writers go on, and what they write is not in it."""
    connection = connect(database)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
    finally:
        connection.close()


def _describe(copy: Path, node_key: bytes, auth: str) -> None:
    now_ms = int(time.time() * 1000)
    row = (node_id(node_key), now_ms, __version__, _sealed(node_key, auth))
    connection = connect(copy)
    try:
        connection.execute(_TABLE)
        connection.execute("INSERT INTO backup VALUES (?, ?, ?, ?)", row)
    finally:
        connection.close()


def _read(connection: sqlite3.Connection, path: Path) -> tuple[str, int, str, bytes]:
    (sound,) = connection.execute("PRAGMA quick_check").fetchone()
    if sound != "ok":
        raise SettingsError(f"{path}: damaged: {sound}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    row = connection.execute("SELECT * FROM backup").fetchone()
    if row is None:
        raise SettingsError(f"{path}: does not say where it is from")
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"{path}: made by a newer release ({row[2]}); install that first"
        )
    return str(row[0]), int(row[1]), str(row[2]), bytes(row[3])


def _sealed(node_key: bytes, auth: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 large

    salt = secrets.token_bytes(_SALT_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return salt + nonce + AESGCM(_key(auth, salt)).encrypt(nonce, node_key, None)


def _unsealed(sealed: bytes, auth: str | None, path: Path) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 large
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    if not auth:
        raise SettingsError(
            f"{path}: of another node, or from before this one was flashed; give the"
            " system key it was made with in EDGEWHISK_SYSTEM_KEY"
        )
    salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
    nonce, cipher = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
    try:
        return AESGCM(_key(auth, salt)).decrypt(nonce, cipher, None)
    except InvalidTag as error:
        raise SettingsError(
            f"{path}: made with another system key; give the one of that time"
        ) from error


def _key(auth: str, salt: bytes) -> bytes:
    """A system key is long and random: no slow derivation is needed."""
    return hashlib.blake2b(
        auth.encode(), digest_size=32, salt=salt, person=b"edgewhisk backup"
    ).digest()
