"""The keys that a deployment gives: a fleet shares those of its namespaces."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge_agent.model.errors import SettingsError

_FILE = msgspec.json.Decoder(dict[str, list[str]])


def read_keys(file: str) -> dict[str, list[str]]:
    """Namespace to keys, the current one first; none without a file.

    Raises:
        SettingsError: the file cannot be read, or holds something else.
    """
    if not file:
        return {}
    try:
        found = _FILE.decode(Path(file).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"keys_file: {file}: {error}") from error
    for namespace, keys in found.items():
        if not keys or not all(map(_is_key, keys)):
            raise SettingsError(
                f"keys_file: {file}: the keys of '{namespace}' are not a list of"
                " uuid:key"
            )
    return found


def _is_key(key: str) -> bool:
    user, _, secret = key.partition(":")
    return bool(user and secret) and key.isascii()
