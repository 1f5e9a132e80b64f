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

    def load(self, connection: sqlite3.Connection) -> None:
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
        """Who has the credentials `uuid:key`."""
        known = self._by_hash.get(hashlib.sha256(auth).digest())
        if known is None:
            return None
        identity, right = known
        return identity if hmac.compare_digest(right, auth) else None

    def by_namespace(self, namespace: str) -> Identity | None:
        return self._by_namespace.get(namespace)

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
        identity = Identity(
            subject=namespace,
            namespace=namespace,
            uuid=str(uuid.uuid4()),
            key="".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH)),
        )
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

    def _know(self, identity: Identity) -> None:
        before = self._by_namespace.get(identity.namespace)
        if before is not None:
            self._by_hash.pop(_digest(before), None)
        self._by_namespace[identity.namespace] = identity
        self._by_hash[_digest(identity)] = identity, identity.auth.encode()
        self.on_change()


def _digest(identity: Identity) -> bytes:
    return hashlib.sha256(identity.auth.encode()).digest()


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
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce, sealed = cipher[:_NONCE_BYTES], cipher[_NONCE_BYTES:]
    return AESGCM(node_key).decrypt(nonce, sealed, None).decode()
