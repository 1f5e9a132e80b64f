"""`~/.config/edgewhisk/targets.toml`: targets that no inventory has, by name.

    [cluster]
    apihost = "https://openwhisk.example"
    auth = "uuid:key"
    namespace = "_"         # as this and the next are by default
    insecure = false
    ca = "/path/to/ca.pem"  # to trust beside the system's
    system_auth = "uuid:key"

It is the user's to edit: `edgectl deploy --engine ...` writes its own entries and
leaves every other line as it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import ClassVar

import msgspec

from controller.fleet.private import write_private
from edge_agent.model.errors import EdgeWhiskError
from edge_agent.model.names import OWN_NAMESPACE

PLACE = ".config/edgewhisk/targets.toml"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^\s*\[(?!\[)\s*(.+?)\s*\]\s*(#.*)?$")


class EntryError(EdgeWhiskError):
    """The file cannot be used."""

    exit_code: ClassVar[int] = 2


class Cluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the pods of a target are. `kubeconfig` "" is the usual one."""

    namespace: str
    release: str
    kubeconfig: str = ""
    context: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    apihost: str
    auth: str
    namespace: str = OWN_NAMESPACE
    insecure: bool = False
    ca: str = ""
    system_auth: str = ""
    kubernetes: Cluster | None = None


def read_entries(path: Path) -> dict[str, Entry]:
    """By name; none when there is no such file.

    Raises:
        EntryError: it cannot be read, or is not of this form.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), dict[str, Entry])
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EntryError(f"{path}: cannot be read: {error}") from error
    except msgspec.ValidationError as error:
        raise EntryError(f"{path}: {error}") from error


def read_clusters(path: Path) -> dict[str, Cluster]:
    """The targets that are clusters."""
    entries = read_entries(path).items()
    return {name: one.kubernetes for name, one in entries if one.kubernetes is not None}


def put_entry(path: Path, name: str, entry: Entry) -> bool:
    """Write it, in place of the one of this name; whether the file has changed."""
    if read_entries(path).get(name) == entry:
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = path.read_text() if path.exists() else ""
    kept = _without(before, name).rstrip("\n")
    write_private(path, (f"{kept}\n\n" if kept else "") + _text(name, entry))
    return True


def drop_entry(path: Path, name: str) -> bool:
    """Whether there was one."""
    if name not in read_entries(path):
        return False
    write_private(path, _without(path.read_text(), name))
    return True


def _without(text: str, name: str) -> str:
    """The file without the tables of `name`; all other lines as they are."""
    kept, ours = [], False
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header:
            ours = _first_key(header[1]) == name
        if not ours:
            kept.append(line)
    return "".join(kept)


def _first_key(header: str) -> str:
    (first,) = tomllib.loads(f"[{header}]")
    return first


def _text(name: str, entry: Entry) -> str:
    given = msgspec.to_builtins(entry)
    cluster = given.pop("kubernetes") or {}
    usual = msgspec.to_builtins(Entry(apihost="", auth=""))
    quoted = name if _BARE.fullmatch(name) else json.dumps(name)
    lines = [f"[{quoted}]"]
    lines += [f"{k} = {json.dumps(v)}" for k, v in given.items() if v != usual[k]]
    if cluster:
        lines += [f"[{quoted}.kubernetes]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in cluster.items()]
    return "\n".join(lines) + "\n"
