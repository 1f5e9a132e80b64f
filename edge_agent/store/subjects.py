"""Subjects and their keys (F1-F3): looked up by SHA-256, stored encrypted.

The plain keys are needed (fires run with them, `__OW_API_KEY` shows one), so they are
kept, but as AES-GCM ciphertext under a key file beside the database: a copied state.db
alone opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import sqlite3
import string
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_agent.model.errors import SettingsError
from edge_agent.model.jobs import Identity
from edge_agent.store.writer import Writer

KEY_LENGTH = 64
NODE_KEY_BYTES = 32
_NONCE_BYTES = 12
_ALPHABET = string.ascii_letters + string.digits


def _nothing() -> None:
    pass


class SubjectStore:
    """Owns who may call. One key sees exactly one namespace.

    `on_change` is called whenever somebody is new or has other keys.
    """

    def __init__(self, writer: Writer, node_key: bytes) -> None:
        self.on_change: Callable[[], None] = _nothing
        self._writer = writer
        self._node_key = node_key
        self._by_hash: dict[bytes, tuple[Identity, bytes]] = {}
        self._by_namespace: dict[str, Identity] = {}
        self._blocked: set[str] = set()

    def load(self, connection: sqlite3.Connection) -> None:
        blocked = connection.execute("SELECT subject FROM blocked")
        self._blocked = {subject for (subject,) in blocked}
        for row in connection.execute(
            "SELECT uuid, subject, namespace, key_cipher FROM subject"
        ):
            self._know(
                Identity(
                    subject=row[1],
                    namespace=row[2],
                    uuid=row[0],
                    key=_decrypt(self._node_key, row[3]),
                )
            )

    def by_key(self, auth: bytes) -> Identity | None:
        """Who has the credentials `uuid:key`; nobody who is blocked (F3)."""
        known = self._by_hash.get(hashlib.sha256(auth).digest())
        if known is None:
            return None
        identity, right = known
        if identity.subject in self._blocked:
            return None
        return identity if hmac.compare_digest(right, auth) else None

    def by_namespace(self, namespace: str) -> Identity | None:
        """Whose it is; nobody's whose subject is blocked."""
        identity = self._by_namespace.get(namespace)
        if identity is None or identity.subject in self._blocked:
            return None
        return identity

    def is_blocked(self, namespace: str) -> bool:
        identity = self._by_namespace.get(namespace)
        return identity is not None and identity.subject in self._blocked

    def owner_of(self, namespace: str) -> Identity | None:
        """Whose it is, blocked or not."""
        return self._by_namespace.get(namespace)

    def has_uuid(self, uid: str) -> bool:
        return any(identity.uuid == uid for identity in self._by_namespace.values())

    def of_subject(self, subject: str) -> list[Identity]:
        """A subject in each of its namespaces, by name, blocked or not."""
        found = [i for i in self._by_namespace.values() if i.subject == subject]
        return sorted(found, key=lambda identity: identity.namespace)

    @property
    def subjects(self) -> list[str]:
        return sorted({identity.subject for identity in self._by_namespace.values()})

    @property
    def blocked(self) -> frozenset[str]:
        return frozenset(self._blocked)

    @property
    def keys(self) -> list[str]:
        return [identity.auth for identity in self._by_namespace.values()]

    @property
    def namespaces(self) -> list[str]:
        return sorted(self._by_namespace)

    async def ensure(self, namespace: str) -> Identity:
        """The namespace's identity, made with a random key when there is none."""
        known = self._by_namespace.get(namespace)
        if known is not None:
            return known
        identity = new_identity(namespace, namespace)
        await self.put(identity)
        return identity

    async def adopt(self, namespace: str, keys: Sequence[str]) -> None:
        """Make the first of `keys` (`uuid:key`) the namespace's; the others open too.

        Former keys are known as long as they are given: nothing of them is stored.
        """
        uid, _, key = keys[0].partition(":")
        known = self._by_namespace.get(namespace)
        if known is None or known.auth != keys[0]:
            subject = namespace if known is None else known.subject
            await self.put(
                Identity(subject=subject, namespace=namespace, uuid=uid, key=key)
            )
        current = self._by_namespace[namespace]
        for former in map(str.encode, keys[1:]):
            self._by_hash[hashlib.sha256(former).digest()] = current, former

    async def put(self, identity: Identity) -> None:
        """Keep `identity`, in place of the namespace's former one."""
        await self._writer.execute(
            ("DELETE FROM subject WHERE namespace=?", (identity.namespace,)),
            (
                "INSERT INTO subject VALUES (?,?,?,?,?)",
                (
                    identity.uuid,
                    identity.subject,
                    identity.namespace,
                    _digest(identity),
                    _encrypt(self._node_key, identity.key),
                ),
            ),
        )
        self._know(identity)

    async def remove(self, identity: Identity) -> None:
        """Forget a subject's namespace with all keys of it; entities stay."""
        namespace = identity.namespace
        await self._writer.execute(
            ("DELETE FROM subject WHERE namespace=?", (namespace,))
        )
        self._by_namespace.pop(namespace, None)
        for digest, (known, _) in list(self._by_hash.items()):
            if known.namespace == namespace:
                del self._by_hash[digest]
        self.on_change()

    async def block(self, subject: str, *, blocked: bool) -> None:
        """Let nobody in with a key of the subject's; or let them in again."""
        sql = (
            "INSERT OR IGNORE INTO blocked VALUES (?)"
            if blocked
            else "DELETE FROM blocked WHERE subject=?"
        )
        await self._writer.execute((sql, (subject,)))
        if blocked:
            self._blocked.add(subject)
        else:
            self._blocked.discard(subject)

    def _know(self, identity: Identity) -> None:
        before = self._by_namespace.get(identity.namespace)
        if before is not None:
            self._by_hash.pop(_digest(before), None)
        self._by_namespace[identity.namespace] = identity
        self._by_hash[_digest(identity)] = identity, identity.auth.encode()
        self.on_change()


def new_identity(subject: str, namespace: str) -> Identity:
    """With a key that nobody has."""
    return Identity(
        subject=subject,
        namespace=namespace,
        uuid=str(uuid.uuid4()),
        key="".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH)),
    )


def _digest(identity: Identity) -> bytes:
    return hashlib.sha256(identity.auth.encode()).digest()


def read_key(database: Path, node_key: Path, namespace: str) -> str:
    """The credentials of a namespace in the store of an agent that runs.

    Raises:
        OSError, KeyError: there is none that can be read.
    """
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        row = connection.execute(
            "SELECT uuid, key_cipher FROM subject WHERE namespace=?", (namespace,)
        ).fetchone()
    except sqlite3.Error as error:
        raise OSError(f"{database}: {error}") from error
    finally:
        connection.close()
    if row is None:
        raise KeyError(namespace)
    return f"{row[0]}:{_decrypt(node_key.read_bytes(), row[1])}"


def load_node_key(path: Path) -> bytes:
    """Read the node's key file, made with mode 0600 when it is not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
    else:
        key = secrets.token_bytes(NODE_KEY_BYTES)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    if len(key) != NODE_KEY_BYTES:
        raise SettingsError(f"{path}: not a node key ({NODE_KEY_BYTES} bytes)")
    return key


def _encrypt(node_key: bytes, text: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(node_key).encrypt(nonce, text.encode(), None)


def _decrypt(node_key: bytes, cipher: bytes) -> str:
    # Imported here: it costs 10 MB and 40 ms that a command without keys need not pay.
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce, sealed = cipher[:_NONCE_BYTES], cipher[_NONCE_BYTES:]
    try:
        return AESGCM(node_key).decrypt(nonce, sealed, None).decode()
    except InvalidTag as error:
        raise SettingsError(
            "node.key is not the one that this store's keys are sealed with: put back"
            " the one that lay beside state.db, or restore a backup"
        ) from error
