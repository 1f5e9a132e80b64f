"""Secrets of a node: parameters say `{"secret": "name"}`, a file holds the value.

The file is `secrets/NAME` in the node's data folder (beside the mapping file for the
bridge), readable by its owner alone. Nothing but the connection that needs a value
reads it, each time it connects, so that a changed file counts from the next one on;
entities, records, logs and READ have only the name.
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
    """The name of a secret; `str` of it says no more."""

    name: str

    def __str__(self) -> str:
        return f"the secret {self.name}"

    @property
    def shown(self) -> dict[str, str]:
        return {KEY: self.name}


#: A value that may be given as it is or by the name of a secret.
Hidden = str | Secret


def is_secret(value: Any) -> bool:
    return isinstance(value, Mapping) and KEY in value


def parse_hidden(given: Any, *, key: str) -> Hidden:
    """Text, or the name of a secret.

    Raises:
        ConfigError: naming `key`.
    """
    if not is_secret(given):
        if not isinstance(given, str):
            kind = type(given).__name__
            problem = f'expected text or {{"secret": "name"}}, got {kind}; quote it'
            raise ConfigError(key, problem)
        return given
    name = given[KEY]
    if len(given) > 1 or not isinstance(name, str) or not _NAME.fullmatch(name):
        problem = 'expected {"secret": "name"}, the name of a file in secrets/'
        raise ConfigError(key, problem)
    return Secret(name)


class SecretError(ConfigError):
    """A secret cannot be used; the text has its name and the remedy, never a value."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(KEY, f"{name!r}: {problem}")


class Secrets:
    """The folder. Reading blocks on the disk: call it from a thread."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def text(self, hidden: Hidden) -> str:
        """The value itself.

        Raises:
            SecretError: there is none, others may read it, or it is not text.
        """
        if isinstance(hidden, str):
            return hidden
        data = self._read(hidden.name)
        try:
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SecretError(hidden.name, "is not UTF-8 text") from None

    def _read(self, name: str) -> bytes:
        if self._folder is None:
            raise SecretError(name, "there is no folder of secrets here")
        path = self._folder / name
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
