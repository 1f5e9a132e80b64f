"""The bridge's mapping file: which topic goes to which action. Pure.

    broker: 192.168.1.10:1883     # 127.0.0.1:1883 when left out
    username: bridge              # and password, where the broker wants them
    client_id: hall-bridge        # must be no other client's
    entries:
      - topic: sensors/+/temp     # a filter; + and # work
        action: weather           # name, pkg/name or /namespace/[pkg/]name
        namespace: guest          # the key's own when left out
        qos: 1                    # 0, 1 (the default); 2 is made 1
        payload: auto             # json, text, base64, auto
      - topic: doors/#
        action: alarms/door

An action gets the message in the shape of `edge_agent.events.mapping`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from edge_agent.events.base import ConfigError
from edge_agent.events.mapping import Address, parse_config
from edge_agent.model.errors import BuiltinError, EdgeWhiskError, IllegalName
from edge_agent.model.names import OWN_NAMESPACE, FullName, check_namespace

DEFAULT_BROKER = "127.0.0.1:1883"
TOP_KEYS = ("broker", "username", "password", "client_id", "entries")
#: What an entry says about its action; the rest is about its subscription.
ACTION_KEYS = ("action", "namespace")
ENTRY_KEYS = (*ACTION_KEYS, "topic", "qos", "payload")


class MapError(EdgeWhiskError):
    """The file cannot be used; `problems` has a line for each thing to mend."""

    exit_code: ClassVar[int] = 2

    def __init__(self, file: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapping: `parameters` are those of a subscription."""

    id: str
    action: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BridgeMap:
    """A checked file."""

    broker: str
    client_id: str | None
    entries: tuple[Entry, ...]


def check_map(file: Path) -> list[str]:
    """What is wrong with the file, a line each; empty when nothing is."""
    try:
        read_map(file)
    except MapError as error:
        return error.problems
    return []


def read_map(file: Path) -> BridgeMap:
    """Read and check.

    Raises:
        MapError: with all that is wrong.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MapError(str(file), [f"cannot be read: {error}"]) from error
    return parse_map(text, file=str(file))


def parse_map(text: str, *, file: str = "map") -> BridgeMap:
    """Check the text of a file.

    Raises:
        MapError: with all that is wrong.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MapError(file, [f"not YAML: {_one_line(error)}"]) from error
    if not isinstance(document, Mapping):
        raise MapError(file, ["expected keys such as broker and entries"])
    problems: list[str] = []
    shared = _shared(document, problems)
    entries = _entries(document.get("entries"), shared, problems)
    if problems:
        raise MapError(file, problems)
    return BridgeMap(
        broker=str(document.get("broker", DEFAULT_BROKER)),
        client_id=document.get("client_id"),
        entries=tuple(entries),
    )


def _shared(document: Mapping[Any, Any], problems: list[str]) -> dict[str, Any]:
    """The part of every subscription that stands at the top of the file."""
    for key in document:
        if key not in TOP_KEYS:
            known = ", ".join(TOP_KEYS)
            problems.append(f"{key}: is not known here; known are {known}")
    client_id = document.get("client_id", "x")
    if not isinstance(client_id, str) or not client_id:
        problems.append(f"client_id: expected text, got {client_id!r}")
    try:
        Address.parse(document.get("broker", DEFAULT_BROKER))
    except ConfigError as error:
        problems.append(str(error))
    return {k: document[k] for k in ("username", "password") if k in document}


def _entries(given: Any, shared: Mapping[str, Any], problems: list[str]) -> list[Entry]:
    if not isinstance(given, list) or not given:
        problems.append("entries: expected a list with at least one topic and action")
        return []
    entries = []
    for place, one in enumerate(given, 1):
        try:
            entries.append(_entry(one, shared, place))
        except (BuiltinError, IllegalName) as error:
            problems.append(f"entry {place}: {error}")
    return entries


def _entry(given: Any, shared: Mapping[str, Any], place: int) -> Entry:
    if not isinstance(given, Mapping):
        raise BuiltinError(f"expected topic and action, got {given!r}")
    for key in given:
        if key not in ENTRY_KEYS:
            known = ", ".join(ENTRY_KEYS)
            raise ConfigError(str(key), f"is not known here; known are {known}")
    own = {k: v for k, v in given.items() if k not in ACTION_KEYS}
    parameters = {**shared, **own}
    parse_config(parameters, namespace="bridge", own={"broker": DEFAULT_BROKER})
    return Entry(f"bridge/{place}", _action(given), parameters)


def _action(given: Mapping[str, Any]) -> str:
    action, namespace = given.get("action"), given.get("namespace")
    if not isinstance(action, str) or not action:
        raise ConfigError("action", f"expected a name, got {action!r}")
    if namespace is not None:
        if not isinstance(namespace, str):
            raise ConfigError("namespace", f"expected a name, got {namespace!r}")
        check_namespace(namespace)
        if action.startswith("/"):
            raise ConfigError("namespace", f"{action} names one already")
        action = f"/{namespace}/{action}"
    rooted = action if action.startswith("/") else f"/{OWN_NAMESPACE}/{action}"
    FullName.parse(rooted, own=OWN_NAMESPACE)
    return action


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
