"""Secrets of a node: parameters say `{"secret": "name"}`, a file holds the value.

The file is `secrets/NAMESPACE/NAME` in the node's data folder, readable by its owner
alone: a namespace reaches its own secrets and no other's. `secrets/NAME` has those of
the node itself, which its settings name; the namespace that the node belongs to may use
them as well where it has none of that name. A bridge has one owner, so its secrets lie
beside its mapping file.

Nothing but the connection that needs a value reads it, each time it connects, so that a
changed file counts from the next one on; entities, records, logs and READ have only the
name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.events.base import ConfigError

KEY = "secret"
FOLDER = "secrets"
LONGEST_BYTES = 65_535
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: Bits that let anybody but the owner in.
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Secret:
    """The name of a secret; `str` of it says no more.

    `of_node`: the settings name it, whatever namespace connects.
    """

    name: str
    of_node: bool = False

    def __str__(self) -> str:
        return f"the secret {self.name}"

    @property
    def shown(self) -> dict[str, str]:
        return {KEY: self.name}


#: A value that may be given as it is or by the name of a secret.
Hidden = str | Secret


def is_secret(value: Any) -> bool:
    return isinstance(value, Secret) or (isinstance(value, Mapping) and KEY in value)


def of_node(value: Any) -> Any:
    """Parameters from the settings: the secrets in them are the node's."""
    if not isinstance(value, Mapping):
        return value
    if is_secret(value):
        return Secret(value[KEY], of_node=True)
    return {key: of_node(one) for key, one in value.items()}


def parse_hidden(given: Any, *, key: str) -> Hidden:
    """Text, or the name of a secret.

    Raises:
        ConfigError: naming `key`.
    """
    if isinstance(given, Secret):
        return given
    if not is_secret(given):
        if not isinstance(given, str):
            kind = type(given).__name__
            problem = f'expected text or {{"secret": "name"}}, got {kind}; quote it'
            raise ConfigError(key, problem)
        return given
    name = given[KEY]
    if len(given) > 1 or not isinstance(name, str) or not _NAME.fullmatch(name):
        problem = 'expected {"secret": "name"}, the name of a file of secrets/'
        raise ConfigError(key, problem)
    return Secret(name)


class SecretError(ConfigError):
    """A secret cannot be used; the text has its name and the remedy, never a value."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(KEY, f"{name!r}: {problem}")


class Secrets:
    """The folder. Reading blocks on the disk: call it from a thread.

    `owner` is the namespace that may use the node's own secrets; None: all may.
    """

    def __init__(self, folder: Path | None, *, owner: str | None = None) -> None:
        self._folder = folder
        self._owner = owner

    def text(self, hidden: Hidden, *, namespace: str) -> str:
        """The value itself, for a connection of the namespace.

        Raises:
            SecretError: there is none, others may read it, or it is not text.
        """
        if isinstance(hidden, str):
            return hidden
        data = self._read(hidden, namespace)
        try:
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SecretError(hidden.name, "is not UTF-8 text") from None

    def _read(self, secret: Secret, namespace: str) -> bytes:
        if self._folder is None:
            raise SecretError(secret.name, "there is no folder of secrets here")
        own, shared = self._folder / namespace / secret.name, self._folder / secret.name
        if secret.of_node:
            return _read_file(secret.name, shared)
        may_share = self._owner in (None, namespace)
        return _read_file(
            secret.name, shared if may_share and not own.is_file() else own
        )


def _read_file(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode & 0o777
            if mode & _OTHERS:
                problem = f"others may read it (mode {mode:03o}): chmod 600 {path}"
                raise SecretError(name, problem)
            data = file.read(LONGEST_BYTES + 1)
    except FileNotFoundError:
        raise SecretError(name, f"there is no file {path}") from None
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise SecretError(name, problem) from None
    if len(data) > LONGEST_BYTES:
        raise SecretError(name, f"has more than {LONGEST_BYTES} bytes")
    return data
