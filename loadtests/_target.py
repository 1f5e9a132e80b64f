"""Which OpenWhisk host a run is against, and with which key.

The host comes from the first place that has one: the option, OPENWHISK_APIHOST, the
property file of `wsk` (WSK_CONFIG_FILE, else ~/.wskprops), a local fleet that is up.
The key likewise, only that a node of the local fleet knows its own better than the
property file does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HOW_TO_NAME_A_HOST = (
    "no host: give --host URL, set OPENWHISK_APIHOST, write APIHOST to ~/.wskprops "
    "or start a local fleet with `edgectl local up`"
)
HOW_TO_NAME_A_KEY = (
    "no key: give --auth UUID:KEY, set OPENWHISK_AUTH or write AUTH to ~/.wskprops"
)


class TargetError(Exception):
    """The host or its key is missing or wrong; the text is one line for the user."""


@dataclass(frozen=True)
class Target:
    """`url` has a scheme and no trailing slash; `system_auth` is None when unknown."""

    url: str
    auth: str
    system_auth: str | None = None
    insecure: bool = False
    ca_file: str = ""


@dataclass(frozen=True)
class Place:
    """What one place says about the target; a value it does not know is empty."""

    host: str = ""
    auth: str = ""
    system_auth: str = ""


def find_target(
    given: Place,
    *,
    insecure: bool = False,
    ca_file: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Target:
    """Complete what was `given` on the command line.

    Raises:
        TargetError: there is no host or no key anywhere, or one is malformed.
    """
    here, file = _environment(environ), _property_file(environ)
    nodes = _local_nodes(environ)
    url = _url(_first(place.host for place in (given, here, file, *nodes)))
    own = (node for node in nodes if _url(node.host) == url)
    places = [given, here, *own, file]
    auth = _first(place.auth for place in places)
    return Target(
        url=url,
        auth=_checked_key(auth),
        system_auth=_first(place.system_auth for place in places) or None,
        insecure=insecure,
        ca_file=ca_file,
    )


def find_broker(environ: Mapping[str, str] = os.environ) -> str:
    """HOST:PORT of the local fleet's broker while it runs, else empty."""
    try:
        state = json.loads((_local_folder(environ) / "fleet.json").read_text())
        broker = state["broker"]
        if not _runs(broker["process"]):
            return ""
        return f"{broker['host']}:{broker['port']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def _environment(environ: Mapping[str, str]) -> Place:
    return Place(
        environ.get("OPENWHISK_APIHOST", ""),
        environ.get("OPENWHISK_AUTH", ""),
        environ.get("OPENWHISK_SYSTEM_AUTH", ""),
    )


def _property_file(environ: Mapping[str, str]) -> Place:
    """`wsk` keeps one KEY=value a line; a missing file knows nothing."""
    home = environ.get("HOME", "")
    path = Path(environ.get("WSK_CONFIG_FILE") or Path(home, ".wskprops"))
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return Place()
    pairs = (line.partition("=") for line in lines)
    values = {key.strip(): value.strip() for key, _, value in pairs}
    return Place(values.get("APIHOST", ""), values.get("AUTH", ""))


def _url(host: str) -> str:
    """A host without a scheme is https, as for `wsk`."""
    if not host:
        raise TargetError(HOW_TO_NAME_A_HOST)
    text = host if "://" in host else f"https://{host}"
    url = text.rstrip("/").removesuffix("/api/v1")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise TargetError(f"{host}: not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TargetError(f"{host}: not the URL of an OpenWhisk API host")
    return url


def _checked_key(auth: str) -> str:
    if not auth:
        raise TargetError(HOW_TO_NAME_A_KEY)
    if ":" not in auth or not auth.isascii() or not auth.isprintable():
        raise TargetError("the key is not of the form UUID:KEY")
    return auth


def _local_nodes(environ: Mapping[str, str]) -> list[Place]:
    """The nodes of the local fleet that run, from the state file of `edgectl local`."""
    try:
        state = json.loads((_local_folder(environ) / "fleet.json").read_text())
        nodes = [node for node in state["nodes"] if _runs(node.get("process"))]
        return [Place(node["url"], node["key"], node["system_key"]) for node in nodes]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _local_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("EDGEWHISK_LOCAL_DIR")
    if named:
        return Path(named)
    home = Path(environ.get("HOME", ""))
    data = environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    return Path(data, "edgewhisk", "local")


def _runs(process: Mapping[str, Any] | None) -> bool:
    """Whether it is still the process that was started: its id, born at that tick."""
    if process is None:
        return False
    stat = Path(f"/proc/{process['pid']}/stat")
    if not Path("/proc/self/stat").exists():
        return True  # no cheap way to tell: a dead node is a refused connection
    try:
        born = stat.read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return False
    return bool(process["born"].rpartition("/")[2] == born)
