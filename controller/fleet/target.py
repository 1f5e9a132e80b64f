"""Which OpenWhisk a command talks to.

The first of these that is given names the target, and nothing after it is looked at:

1. `--fleet INVENTORY`: every node of an Ansible inventory
2. `--dir DIR`: every running node of a local fleet
3. `--target URL --auth KEY`, or `--target NAME` of targets.toml (`fleet.entries`)
4. `OPENWHISK_APIHOST` and `OPENWHISK_AUTH`
5. `WSK_CONFIG_FILE`, else `~/.wskprops`, when it has an `APIHOST`
6. the local fleet that is up
7. the inventory of `edgectl fleet` (`$EDGEWHISK_INVENTORY` or its usual place)

Nothing here talks to a network; everything is given as a value, so it can be tested.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from controller.fleet.entries import PLACE, Entry, read_entries
from controller.fleet.inventory_place import InventoryError, inventory_place
from controller.fleet.local_state import local_dir, read_state
from edge_agent.model.errors import EdgeWhiskError
from edge_agent.model.names import OWN_NAMESPACE


class TargetError(EdgeWhiskError):
    """There is no usable target; the text says what to give."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Target:
    """One OpenWhisk API host with a key (`uuid:key`).

    `url` has a scheme and no path. `system_key` opens `/edge/v1/node` and is known
    for local fleets and inventories only. `insecure` takes any certificate; `ca` is a
    file with an authority to trust beside the system's.
    """

    url: str
    key: str = field(repr=False)
    name: str = ""
    insecure: bool = False
    system_key: str | None = field(default=None, repr=False)
    namespace: str = OWN_NAMESPACE
    ca: Path | None = None

    @property
    def authorization(self) -> str:
        return basic(self.key)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line says about the target."""

    fleet: Path | None = None
    dir: Path | None = None
    url: str | None = None
    auth: str | None = field(default=None, repr=False)
    system_auth: str | None = field(default=None, repr=False)
    insecure: bool = False
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The targets, at least one, and where they come from (for people).

    `source` is the inventory's path or the local fleet's folder.
    """

    targets: tuple[Target, ...]
    origin: str
    source: Path | None = None


def basic(key: str) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(key.encode()).decode()


def choose(choice: Choice, *, environ: Mapping[str, str], home: Path) -> Chosen:
    """Find the targets in the order above, narrowed to `choice.node`.

    Raises:
        TargetError: none is given, or the one that is given cannot be used.
    """
    chosen = _first(choice, environ, home)
    targets = _named(chosen, choice.node)
    system = choice.system_auth or environ.get("OPENWHISK_SYSTEM_AUTH")
    if system:
        targets = tuple(replace(t, system_key=system) for t in targets)
    if choice.insecure:
        targets = tuple(replace(t, insecure=True) for t in targets)
    return replace(chosen, targets=targets)


def _first(choice: Choice, environ: Mapping[str, str], home: Path) -> Chosen:
    if choice.fleet is not None:
        return _from_inventory(choice.fleet, choice.auth)
    if choice.dir is not None:
        return _from_local(choice.dir)
    if choice.url is not None:
        return _from_entry(choice.url, choice.auth, home) or _from_url(
            choice.url, choice.auth or environ.get("OPENWHISK_AUTH")
        )
    found = (
        _from_environment(environ, choice.auth)
        or _from_properties(environ, home, choice.auth)
        or _from_running(environ, home)
        or _from_usual_inventory(environ, home, choice.auth)
    )
    if found is None:
        raise TargetError(
            "no target: give --target URL --auth KEY, --fleet INVENTORY or --dir DIR,"
            " set OPENWHISK_APIHOST and OPENWHISK_AUTH,"
            " make an inventory with `edgectl fleet init`,"
            " or start a fleet here with `edgectl local up`"
        )
    return found


def _named(chosen: Chosen, node: str | None) -> tuple[Target, ...]:
    if node is None:
        return chosen.targets
    named = tuple(t for t in chosen.targets if t.name == node)
    if not named:
        names = ", ".join(t.name for t in chosen.targets)
        raise TargetError(f"no node '{node}' in {chosen.origin}; it has: {names}")
    return named


def _from_inventory(path: Path, auth: str | None) -> Chosen:
    from controller.fleet.inventory import read_inventory  # noqa: PLC0415 imports YAML

    try:
        nodes = read_inventory(path)
    except InventoryError as error:
        raise TargetError(str(error)) from error
    targets = []
    for node in nodes:
        key = auth or node.key
        if not key:
            raise TargetError(
                f"{path}: host '{node.name}' has no edge_agent_key; give --auth KEY"
            )
        targets.append(
            Target(
                url=api_url(node.url),
                key=check_key(key, source=f"{path}: edge_agent_key of '{node.name}'"),
                name=node.name,
                insecure=node.insecure,
                system_key=node.system_key,
                ca=node.ca,
            )
        )
    return Chosen(tuple(targets), f"inventory {path}", path)


def _from_local(directory: Path) -> Chosen:
    state = read_state(directory)
    if state is None:
        raise TargetError(
            f"no local fleet in {directory}; start one with"
            f" `edgectl local up --dir {directory}`"
        )
    targets = tuple(
        Target(node.url, node.key, name=node.name, system_key=node.system_key)
        for node in state.nodes
        if node.runs
    )
    if not targets:
        raise TargetError(
            f"the local fleet in {directory} is down; start it with"
            f" `edgectl local up --dir {directory}`"
        )
    return Chosen(targets, f"local fleet {directory}", directory)


def _from_running(environ: Mapping[str, str], home: Path) -> Chosen | None:
    directory = local_dir(environ, home)
    state = read_state(directory)
    if state is None or not any(node.runs for node in state.nodes):
        return None
    return _from_local(directory)


def _from_usual_inventory(
    environ: Mapping[str, str], home: Path, auth: str | None
) -> Chosen | None:
    place = inventory_place(None, environ, home)
    return _from_inventory(place, auth) if place.exists() else None


def _from_entry(name: str, auth: str | None, home: Path) -> Chosen | None:
    entry = read_entries(home / PLACE).get(name)
    if entry is None:
        return None
    target = target_of_entry(name, entry, home / PLACE)
    return Chosen((replace(target, key=auth or target.key),), f"{home / PLACE}")


def target_of_entry(name: str, entry: Entry, path: Path | str) -> Target:
    return Target(
        url=api_url(entry.apihost),
        key=check_key(entry.auth, source=f"{path}: auth of [{name}]"),
        name=name,
        insecure=entry.insecure,
        system_key=entry.system_auth or None,
        ca=Path(entry.ca).expanduser() if entry.ca else None,
        namespace=entry.namespace,
    )


def _from_url(url: str, key: str | None) -> Chosen:
    if not key:
        raise TargetError("--target needs --auth KEY (or OPENWHISK_AUTH)")
    target = Target(api_url(url), check_key(key, source="--auth"), name=_host(url))
    return Chosen((target,), "--target")


def _from_environment(environ: Mapping[str, str], auth: str | None) -> Chosen | None:
    host = environ.get("OPENWHISK_APIHOST")
    if not host:
        return None
    key = auth or environ.get("OPENWHISK_AUTH")
    if not key:
        raise TargetError("OPENWHISK_APIHOST is set but OPENWHISK_AUTH is not")
    target = Target(
        api_url(host), check_key(key, source="OPENWHISK_AUTH"), name=_host(host)
    )
    return Chosen((target,), "OPENWHISK_APIHOST")


def _from_properties(
    environ: Mapping[str, str], home: Path, auth: str | None
) -> Chosen | None:
    named = environ.get("WSK_CONFIG_FILE")
    path = Path(named) if named else home / ".wskprops"
    try:
        properties = parse_properties(path.read_text())
    except FileNotFoundError as error:
        if named:
            raise TargetError(f"WSK_CONFIG_FILE: {path} does not exist") from error
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: cannot be read: {error}") from error
    host = properties.get("APIHOST")
    if not host:
        return None
    key = auth or properties.get("AUTH")
    if not key:
        raise TargetError(f"{path} has an APIHOST but no AUTH")
    target = Target(
        url=api_url(host),
        key=check_key(key, source=f"{path}: AUTH"),
        name=_host(host),
        ca=Path(properties["EDGEWHISK_CA"]) if "EDGEWHISK_CA" in properties else None,
        namespace=properties.get("NAMESPACE") or OWN_NAMESPACE,
    )
    return Chosen((target,), str(path))


def parse_properties(text: str) -> dict[str, str]:
    """Read `KEY=value` lines as wsk does (F7): `#` starts a comment line."""
    pairs = (
        line.split("=", 1)
        for line in map(str.strip, text.splitlines())
        if line and not line.startswith("#") and "=" in line
    )
    return {key.strip(): value.strip() for key, value in pairs}


def api_url(host: str) -> str:
    """`host`, `host:port` or a URL, as scheme and authority; a bare host is https.

    Raises:
        TargetError: it is not the address of an API host.
    """
    text = host if "://" in host else f"https://{host}"
    parts = urlsplit(text)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or parts.username:
        raise TargetError(f"not the address of an API host: '{host}'")
    return f"{parts.scheme}://{parts.netloc}"


def check_key(key: str, *, source: str) -> str:
    """`uuid:key` (F1); only the form is looked at, the host judges the rest."""
    user, _, secret = key.strip().partition(":")
    if not user or not secret or not key.isascii():
        raise TargetError(f"{source}: a key looks like 'uuid:key'")
    return key.strip()


def describe(targets: Sequence[Target]) -> str:
    """`node1, node2` for messages."""
    return ", ".join(t.name or t.url for t in targets)


def _host(host: str) -> str:
    return urlsplit(api_url(host)).netloc
