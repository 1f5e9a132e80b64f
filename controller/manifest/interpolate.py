"""`$NAME` and `${NAME}` in a manifest's texts; `$$` is a dollar (wskdeploy).

wskdeploy makes an empty text of what is not set. Here it is an error: a password that
was forgotten must not become an empty one on ten nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAMED = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


class Unset(KeyError):
    """`name` is not in the environment."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def interpolate(value: Any, environ: Mapping[str, str]) -> Any:
    """Fill in every text in `value`, those in lists and mappings as well.

    Raises:
        Unset: a variable is not set.
    """
    if isinstance(value, str):
        return fill(value, environ)
    if isinstance(value, list):
        return [interpolate(one, environ) for one in value]
    if isinstance(value, dict):
        return {key: interpolate(one, environ) for key, one in value.items()}
    return value


def fill(text: str, environ: Mapping[str, str]) -> str:
    def named(found: re.Match[str]) -> str:
        dollar, braced, bare = found.groups()
        if dollar:
            return "$"
        name = bare if braced is None else braced
        if name not in environ:
            raise Unset(name)
        return environ[name]

    return _NAMED.sub(named, text)
