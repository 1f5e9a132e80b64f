"""The bridge's mapping file: which topic goes to which action. Pure.

    broker: 192.168.1.10:1883     # 127.0.0.1:1883 when left out; several: a failover
    username: bridge              # and password, tls, will, ... as the MQTT feed has
    password: {secret: mqtt}      # them; a secret is a file in secrets/ beside this one
    share: hall                   # bridges with the same word share the messages
    entries:
      - topic: sensors/{room}/temp  # a filter; +, # and {name} work
        action: weather           # name, pkg/name or /namespace/[pkg/]name
        namespace: guest          # the key's own when left out
        route: {key: room}        # see `bridge_route`; least-load when left out
        down: another             # or wait
        qos: 1                    # and payload, retained, filter, projection, throttle,
        payload: auto             # debounce, batch as the MQTT feed has them
      - topic: doors/#
        action: alarms/door
      - topic: jobs/pi            # a map-reduce run instead of an action: see
        job: pi.py                # `bridge_jobs`; the file is beside this one
        settings: {points: 1e6}   # the message's own object goes over them
        result: jobs/pi/result

An action gets the message in the shape of `edge_agent.events.payloads`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import yaml

from controller.bridge_route import RoutePolicy, parse_route
from edge_agent.events.mapping import (
    CONNECTION_KEYS,
    ConfigError,
    Topic,
    parse_config,
)
from edge_agent.model.errors import BuiltinError, EdgeWhiskError, IllegalName
from edge_agent.model.names import OWN_NAMESPACE, FullName, check_namespace

DEFAULT_BROKER = "127.0.0.1:1883"
NAMESPACE = "bridge"
TOP_KEYS = (*CONNECTION_KEYS, "share", "entries")
#: What an entry says about its action; the rest is about its subscription.
ACTION_KEYS = ("action", "namespace", "route", "down")
JOB_KEYS = ("job", "settings", "result")
FEED_KEYS = (
    "topic",
    "qos",
    "payload",
    "retained",
    "filter",
    "projection",
    "throttle",
    "debounce",
    "batch",
)
RUN_FIELD = "{run}"


class MapError(EdgeWhiskError):
    """The file cannot be used; `problems` has a line for each thing to mend."""

    exit_code: ClassVar[int] = 2

    def __init__(self, file: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class JobOf:
    """What an entry starts instead of an action; `result` is a topic."""

    path: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One mapping: `parameters` are those of a subscription.

    The same entry has the same `id` in another version of the file.
    """

    id: str
    parameters: Mapping[str, Any]
    action: str = ""
    route: RoutePolicy = RoutePolicy()  # noqa: RUF009 frozen
    job: JobOf | None = None


@dataclass(frozen=True, slots=True)
class BridgeMap:
    """A checked file."""

    broker: str
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
    bridge_map = parse_map(text, file=str(file), folder=file.absolute().parent)
    jobs = [entry.job.path for entry in bridge_map.entries if entry.job is not None]
    missing = [f"job: there is no file {path}" for path in jobs if not path.is_file()]
    if missing:
        raise MapError(str(file), missing)
    return bridge_map


def parse_map(text: str, *, file: str = "map", folder: Path | None = None) -> BridgeMap:
    """Check the text of a file; jobs are looked for in `folder`.

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
    reader = _Reader(shared, document.get("share"), folder or Path())
    entries = _entries(document.get("entries"), reader, problems)
    if problems:
        raise MapError(file, problems)
    broker = shared["broker"]
    return BridgeMap(
        broker if isinstance(broker, str) else ",".join(broker), tuple(entries)
    )


def _shared(document: Mapping[Any, Any], problems: list[str]) -> dict[str, Any]:
    """The part of every subscription that stands at the top of the file."""
    for key in document:
        if key not in TOP_KEYS:
            known = ", ".join(TOP_KEYS)
            problems.append(f"{key}: is not known here; known are {known}")
    share = document.get("share", "x")
    if not isinstance(share, str) or not share or set(share) & set("+#/"):
        problems.append(f"share: expected a word, got {share!r}")
    found = {key: document[key] for key in CONNECTION_KEYS if key in document}
    found.setdefault("broker", DEFAULT_BROKER)
    try:
        _check_feed({**found, "topic": "a"})
    except BuiltinError as error:
        problems.append(str(error))
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """What an entry has from around it."""

    shared: Mapping[str, Any]
    share: Any
    folder: Path

    def read(self, given: Any) -> Entry:
        if not isinstance(given, Mapping):
            raise BuiltinError(f"expected topic and action, got {given!r}")
        runs_job = "job" in given
        _check_keys(given, (*(JOB_KEYS if runs_job else ACTION_KEYS), *FEED_KEYS))
        parameters = self._parameters(given)
        name = _digest(given, self.shared, self.share)
        if runs_job:
            return Entry(name, parameters, job=_job(given, self.folder))
        route = parse_route(given)
        return Entry(name, parameters, action=_action(given), route=route)

    def _parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        own = {k: v for k, v in given.items() if k in FEED_KEYS}
        topic = own.get("topic")
        if isinstance(self.share, str) and isinstance(topic, str):
            if topic.startswith("$share/"):
                raise ConfigError("topic", "has a share already, as the file does")
            own["topic"] = f"$share/{self.share}/{topic}"
        parameters = {**self.shared, **own}
        _check_feed(parameters)
        return parameters


def _check_feed(parameters: Mapping[str, Any]) -> None:
    parse_config(parameters, namespace=NAMESPACE, own={"broker": DEFAULT_BROKER})


def _entries(given: Any, reader: _Reader, problems: list[str]) -> list[Entry]:
    if not isinstance(given, list) or not given:
        problems.append("entries: expected a list with at least one topic and action")
        return []
    entries: dict[str, Entry] = {}
    for place, one in enumerate(given, 1):
        try:
            entry = reader.read(one)
        except (BuiltinError, IllegalName) as error:
            problems.append(f"entry {place}: {error}")
            continue
        if entry.id in entries:
            problems.append(f"entry {place}: is there twice")
        entries[entry.id] = entry
    return list(entries.values())


def _check_keys(given: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            text = ", ".join(known)
            raise ConfigError(str(key), f"is not known here; known are {text}")


def _digest(given: Mapping[str, Any], shared: Mapping[str, Any], share: Any) -> str:
    text = msgspec.json.encode([given, shared, share], order="deterministic")
    return f"{NAMESPACE}/{hashlib.sha256(text).hexdigest()[:12]}"


def _job(given: Mapping[str, Any], folder: Path) -> JobOf:
    job, result = given["job"], given.get("result")
    if not isinstance(job, str) or not job:
        raise ConfigError("job", f"expected a job file, got {job!r}")
    if result is not None:
        if not isinstance(result, str):
            raise ConfigError("result", f"expected a topic, got {result!r}")
        Topic(result.replace(RUN_FIELD, "x"))
    settings = given.get("settings", {})
    if not isinstance(settings, Mapping):
        raise ConfigError("settings", f"expected names and values, got {settings!r}")
    return JobOf(folder / job, settings_text(settings), result)


def settings_text(given: Mapping[Any, Any]) -> dict[str, str]:
    """Values as `--set` has them.

    Raises:
        ConfigError: a value is neither text nor a number.
    """
    found = {}
    for key, value in given.items():
        if not isinstance(value, str | int | float):
            problem = f"expected text or a number, got {value!r}"
            raise ConfigError(f"settings.{key}", problem)
        found[str(key)] = str(value).lower() if type(value) is bool else str(value)
    return found


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
