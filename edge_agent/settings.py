"""The settings of a node: one frozen tree, read from TOML once and handed down.

Units are in the names. Every error names the key: `pool.memory_mb: Expected int >= 1`.
The command line may override `server.host`, `server.port` and `data_dir`; secrets come
from the data folder or `keys_file`, never from here.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edge_agent.model.errors import SettingsError
from edge_agent.model.limits import SystemLimits

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Level = Literal["full", "namespaces", "rlimits"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a table of the file: unknown keys are errors."""


class ServerTls(Section, frozen=True, kw_only=True):
    """A second, https listener: PEM files, read at start and on SIGHUP.

    `host` "" is every address.
    """

    certificate: str
    key: str
    host: str = ""
    port: Port = 443


class Server(Section, frozen=True, kw_only=True):
    """Where the API listens. Port 0 lets the system choose; 3233 is OpenWhisk's.

    `allow_public_key`: upstream's well-known key is refused on other addresses than
    the loopback's unless this is set.
    `head_timeout_s`: for the rest of a request's head once it has begun.
    `request_timeout_s`: for its body, and a second more for every 8 KiB of it.
    `idle_timeout_s`: how long a connection may be kept without a request.
    `connections`: beyond so many the one that has waited longest is closed.
    """

    host: str = "127.0.0.1"
    port: Port = 3233
    tls: ServerTls | None = None
    allow_public_key: bool = False
    head_timeout_s: Seconds = 30.0
    request_timeout_s: Seconds = 65.0
    idle_timeout_s: Seconds = 70.0
    connections: Positive = 1024
    body_bytes: Positive = 50 << 20
    stop_timeout_s: Seconds = 20.0


def half_of_memory_mb() -> int:
    """Half of this machine's memory, in steps of a standard sandbox: 512 to 8192 MB."""
    total_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return min(max(total_mb // 2 // 256 * 256, 512), 8192)


class Pool(Section, frozen=True, kw_only=True):
    """How many sandboxes: the sum of their declared memory stays within memory_mb.

    Without a setting that is half of the machine's memory; what sandboxes declare is a
    bound, and most use a small part of it. Only what running actions may be waiting for
    goes beyond it, by as much as nested_memory_mb.
    """

    memory_mb: Positive = msgspec.field(default_factory=half_of_memory_mb)
    nested_memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 768
    idle_s: Seconds = 600.0
    queue_jobs: Positive = 4096
    queue_bytes: Positive = 64 << 20
    prewarm: dict[str, int] = {}


class Sandboxing(Section, frozen=True, kw_only=True):
    """How code is held. `minimum_level`: refuse to start below it.

    `fork_server`: start Python sandboxes by forking; `parked`: so many ahead.
    """

    minimum_level: Level = "namespaces"
    network: Literal["auto", "host", "none"] = "auto"
    tmp_mb: Positive = 64
    processes: Positive = 256
    open_files: Positive = 1024
    fork_server: bool = True
    parked: Annotated[int, msgspec.Meta(ge=0, le=64)] = 2


class PythonRuntime(Section, frozen=True, kw_only=True):
    """Its interpreter. Missing interpreters are left out, visibly.

    `wheels`: a folder; the requirements.txt of an action is met from it. What was built
    is kept in `packages` (by default a folder of the data folder's, or of /var/cache
    for root), at most packages_mb of it.
    """

    interpreter: str = "/usr/bin/python3"
    wheels: str = ""
    packages: str = ""
    packages_mb: Positive = 512


class NodeRuntime(Section, frozen=True, kw_only=True):
    """`modules`: folders that `require` looks into; by default those of `npm -g`."""

    interpreter: str = "/usr/bin/node"
    modules: tuple[str, ...] = ()


class Runtimes(Section, frozen=True, kw_only=True):
    """The kinds: `kinds` is a folder with manifests of more of them (docs/kinds.md).

    `images`: patterns of images, and the kind that a `blackbox` of them runs as; an
    empty kind leaves it to a container engine.
    """

    python: PythonRuntime = PythonRuntime()
    nodejs: NodeRuntime = NodeRuntime()
    kinds: str = "/etc/edgewhisk/kinds"
    images: dict[str, str] = {}


class Containers(Section, frozen=True, kw_only=True):
    """A Docker or Podman engine beside the processes; without one there is none.

    `socket`: `auto` looks at /run/docker.sock and /run/podman/podman.sock, "" is none.
    `kinds`: kind -> the image that runs it. `images`: patterns of what blackbox actions
    may name, with `!` before what they may not. `pins`: image -> its sha256 digest.
    `read_only`: all but /tmp and /action, of `tmp_mb` each.
    """

    socket: str = "auto"
    kinds: dict[str, str] = {}
    images: tuple[str, ...] = ("*",)
    pins: dict[str, Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]] = {}
    pull: Literal["missing", "never"] = "missing"
    pull_timeout_s: Seconds = 900.0
    network: str = "bridge"
    processes: Positive = 1024
    open_files: Positive = 1024
    read_only: bool = False
    tmp_mb: Positive = 64


class Store(Section, frozen=True, kw_only=True):
    """Bounds of what is kept, and how often finished work is written."""

    lazy_ms: Positive = 200
    inbox_rows: Positive = 1_000_000
    inbox_bytes: Positive = 1 << 30
    records: Positive = 10_000
    records_bytes: Positive = 64 << 20
    records_age_s: Seconds = 7 * 86_400.0
    pending_bytes: Positive = 64 << 20
    dead_letters: Positive = 10_000
    dead_letters_bytes: Positive = 64 << 20
    dead_letters_full: Literal["hold", "drop oldest"] = "hold"
    dedup_keys: Positive = 50_000


class SecretName(Section, frozen=True, kw_only=True):
    """The name of a file in the data folder's `secrets/`, mode 0600."""

    secret: str


class MqttTls(Section, frozen=True, kw_only=True, omit_defaults=True):
    """Certificates in PEM form; without `ca` the system's authorities are trusted."""

    ca: str | SecretName | None = None
    certificate: str | SecretName | None = None
    key: SecretName | None = None
    server_name: str | None = None
    insecure: bool = False


class MqttWill(Section, frozen=True, kw_only=True):
    """What the broker publishes when it loses the node."""

    topic: str
    payload: str | SecretName = ""
    qos: Literal[0, 1, 2] = 0
    retain: bool = False


class Mqtt(Section, frozen=True, kw_only=True):
    """The default broker, and how connections behave.

    `broker` is `host:port` or `mqtts://host:port`, several with commas; the tables are
    those of the feed's parameters. `invoke` lists the actions that a message to
    `edge/NODE/invoke/ACTION` may run; `activations_topic` is where activations are told
    as they end: a topic with `{node}`, `{namespace}` and `{action}`, "" for nowhere.
    """

    broker: str = "127.0.0.1:1883"
    username: str | SecretName = ""
    password: SecretName | None = None
    tls: bool | MqttTls = False
    version: Literal["auto", "5", "3.1.1"] = "auto"
    client_id: str = ""
    session_expiry_s: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)] = 7 * 86_400
    will: MqttWill | None = None
    invoke: tuple[str, ...] = ()
    activations_topic: str = ""
    keepalive_s: Positive = 30
    receive_maximum: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 500
    backoff_s: Seconds = 0.5
    backoff_most_s: Seconds = 30.0


class Alarms(Section, frozen=True, kw_only=True):
    """`wait_for_clock`: alarms at absolute times wait while the clock is unsynced."""

    wait_for_clock: bool = True


class Gpio(Section, frozen=True, kw_only=True):
    """Which pins: `none` switches GPIO off. On a Pi 5 only lgpio works."""

    pin_factory: Literal["lgpio", "pigpio", "mock", "none"] = "lgpio"


class MetricsServer(Section, frozen=True, kw_only=True):
    """A second listener, of `/ping` and `/metrics` alone; 9095 is user-events'."""

    host: str = "127.0.0.1"
    port: Port = 9095


class Metrics(Section, frozen=True, kw_only=True):
    """`/metrics`: its constant labels; `open`: other hosts need no key."""

    region: str = "edge"
    stack: str = "edgewhisk"
    open: bool = False
    server: MetricsServer | None = None


class Logging(Section, frozen=True, kw_only=True):
    """`format`: `json` is an object a line, for those who collect logs."""

    format: Literal["console", "json"] = "console"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Tracing(Section, frozen=True, kw_only=True):
    """OpenTelemetry: a collector's URL for OTLP over HTTP, "" for no traces.

    `headers` go along, for a collector that asks who sends.
    """

    endpoint: str = ""
    service: str = "edgewhisk"
    headers: dict[str, str] = {}


class Settings(Section, frozen=True, kw_only=True):
    """The whole tree; a table of the file for each field.

    `keys_file` gives namespaces their keys: JSON, `{"guest": ["uuid:key", ...]}`, the
    first is the key, the others are former ones that still open. Without it the node
    makes its own.
    """

    node: str = ""
    data_dir: str = "/var/lib/edgewhisk"
    namespace: str = "guest"
    keys_file: str = ""
    server: Server = Server()
    pool: Pool = Pool()
    sandbox: Sandboxing = Sandboxing()
    runtimes: Runtimes = Runtimes()
    container: Containers = Containers()
    store: Store = Store()
    mqtt: Mqtt = Mqtt()
    alarms: Alarms = Alarms()
    gpio: Gpio = Gpio()
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    limits: SystemLimits = SystemLimits()


def load_settings(path: Path | None, **overrides: Any) -> Settings:
    """Read `path` (the defaults when None) and lay `overrides` over it.

    Args:
        path: a TOML file.
        overrides: top-level keys or tables, as dicts; None values are left out.

    Raises:
        SettingsError: the file cannot be read, is not TOML, or a key is wrong.
    """
    document = {} if path is None else _read_toml(path)
    source = str(path or "settings")
    # What is wrong in the file is told even where something else is laid over it.
    parse_settings(document, source=source)
    for key, value in overrides.items():
        if isinstance(value, dict):
            table = document.setdefault(key, {})
            table.update({k: v for k, v in value.items() if v is not None})
        elif value is not None:
            document[key] = value
    return parse_settings(document, source=source)


def parse_settings(document: dict[str, Any], *, source: str) -> Settings:
    try:
        return msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_with_key(str(error))}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error


def _with_key(text: str) -> str:
    """`Expected int - at `$.a.b`` -> `a.b: Expected int`."""
    detail, _, place = text.partition(" - at `")
    key = place.rstrip("`").removeprefix("$").removeprefix(".")
    return f"{key}: {detail}" if key else detail
