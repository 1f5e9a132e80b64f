"""`~/.wskprops`, the file that tells `wsk` whom to talk to (F7).

What is not ours to set stays: other keys, comments, the order of the lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.fleet.target import Target

#: Ours: `edgectl` trusts this authority; `wsk` keeps what it does not know.
CA = "EDGEWHISK_CA"


def properties_place(environ: Mapping[str, str], home: Path) -> Path:
    """`$WSK_CONFIG_FILE`, else `~/.wskprops`, as wsk has it."""
    named = environ.get("WSK_CONFIG_FILE")
    return Path(named).expanduser() if named else home / ".wskprops"


def properties_of(target: Target) -> dict[str, str | None]:
    """What the file is to say; None is not to be there."""
    return {
        "APIHOST": target.url,
        "AUTH": target.key,
        "NAMESPACE": target.namespace,
        CA: None if target.ca is None else str(target.ca),
    }


def with_properties(text: str, changes: Mapping[str, str | None]) -> str:
    """The file's text with `changes`; each key once, where its first line stood."""
    left = dict(changes)
    lines = []
    for line in text.splitlines():
        key = _key(line)
        if key is None or key not in changes:
            lines.append(line)
        elif (value := left.pop(key, None)) is not None:
            lines.append(f"{key}={value}")
    lines += [f"{key}={value}" for key, value in left.items() if value is not None]
    return "".join(f"{line}\n" for line in lines)


def _key(line: str) -> str | None:
    plain = line.strip()
    if plain.startswith("#") or "=" not in plain:
        return None
    return plain.partition("=")[0].strip()
