"""A fleet on this machine: real agents and a broker, each a process of its own.

    DIR/fleet.json              what there is (`controller.fleet.local_state`)
    DIR/node1/settings.toml     written anew at each start
    DIR/node1/data/             the node's data; stays when it stops
    DIR/node1/agent.log         its stderr
    DIR/broker/                 configuration, messages kept, broker.log
    DIR/monitoring/             see `controller.local_monitoring`

The state is written as soon as a process is there, so that whatever happens to the
command that started it, `down` finds it; and read with care, because the machine may
have been started anew since. One command at a time works on a folder.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from controller import local_broker, local_monitoring
from controller.fleet.local_state import (
    STATE_FILE,
    LocalBroker,
    LocalNode,
    LocalService,
    LocalState,
    read_state,
    write_state,
)
from controller.fleet.pki import CA, FOLDER
from controller.fleet.process import POLL_S, Process, ended, spawn, stop, uninterrupted
from controller.local_node import (
    HOST,
    environment,
    last_line,
    node_command,
    node_settings,
    sandbox_level,
)
from edge_agent.model.errors import EdgeWhiskError

DEFAULT_NODES = 3
BROKER = "broker"
#: A Pi 3 with a cold card takes its time.
START_TIMEOUT_S = 60.0
#: Above the agent's own `server.stop_timeout_s`.
STOP_TIMEOUT_S = 25.0
BROKER_ATTEMPTS = 3

Say = Callable[[str], None]


class LocalError(EdgeWhiskError):
    """The fleet could not be started or stopped; the text says which part and why."""

    exit_code: ClassVar[int] = 1


class UnknownPart(LocalError):
    exit_code = 2

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no '{name}' in this fleet; it has: {', '.join(known)}")


class _Ready(msgspec.Struct, frozen=True):
    """What `edge-agent run --print-json` says once it serves."""

    url: str
    key: str
    system_key: str
    tls_url: str = ""


@dataclass(frozen=True, slots=True)
class Up:
    state: LocalState
    #: False when everything was up already.
    changed: bool


class LocalFleet:
    """The fleet in one folder.

    `say` is told what a person should know; `records` is how many activations each
    node keeps (None: its own default); `mock_pins` gives them GPIO without a board;
    `scrape_s` is how often Prometheus asks the nodes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        say: Say = lambda _: None,
        records: int | None = None,
        mock_pins: bool = False,
        scrape_s: float = 5.0,
    ) -> None:
        self.directory = directory.absolute()
        self._scrape_s = scrape_s
        self._mock_pins = mock_pins
        self._records = records
        self._say = say
        self._state = LocalState()

    def up(
        self,
        nodes: int | None = None,
        *,
        broker: bool = True,
        tls: bool = False,
        monitoring: bool = False,
    ) -> Up:
        """Start what is not up: the nodes there are, or `nodes` when that is more.

        With `tls` the nodes that it starts speak https too, as they do from then on.
        With `monitoring` there is a Prometheus, and a Grafana where it is installed.

        Raises:
            LocalError: something did not start; what this call started is down again.
        """
        with self._locked():
            if monitoring:
                local_monitoring.services()  # before anything is started
            names = self._names(nodes)
            if tls or self._state.ca:
                self._certify(names)
            wanted = [n for n in names if not self._node(n).runs]
            new_broker = broker and not (self._state.broker and self._state.broker.runs)
            with self._undone_on_failure():
                if new_broker:
                    self._start_broker()
                if wanted:
                    self._start_nodes(wanted)
                watched = self._watch() if monitoring or self._state.services else False
            return Up(self._state, changed=bool(wanted) or new_broker or watched)

    def status(self) -> LocalState:
        return read_state(self.directory) or LocalState()

    def start(self, name: str) -> LocalState:
        """Start one node, or the broker, on its old port with its old data."""
        with self._locked():
            self._check(name)
            with self._undone_on_failure():
                if name == BROKER:
                    self._start_broker(same_port=True)
                elif name in self._services():
                    self._watch([name])
                elif not self._node(name).runs:
                    self._start_nodes([name], same_port=True)
            return self._state

    def stop(self, name: str) -> LocalState:
        """Stop one node, the broker or what looks at them; it keeps its data."""
        with self._locked():
            self._check(name)
            self._stop([name])
            return self._state

    def down(self, *, wipe: bool = False) -> LocalState:
        """Stop everything; with `wipe` the folder's contents go too."""
        with self._locked():
            names = [node.name for node in self._state.nodes]
            self._stop([*names, *self._services()])
            if self._state.broker is not None:
                self._stop([BROKER])
            if wipe:
                for path in _own_paths(self.directory, names):
                    shutil.rmtree(path, ignore_errors=True)
                (self.directory / STATE_FILE).unlink(missing_ok=True)
            return self._state

    # --- the state ----------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._state = self.status()
            yield

    def _save(self, *, nodes: Sequence[LocalNode] = (), **changes: Any) -> None:
        """Put `nodes` in the place of their namesakes, or at the end."""
        by_name = {node.name: node for node in [*self._state.nodes, *nodes]}
        self._state = replace(self._state, nodes=list(by_name.values()), **changes)
        write_state(self.directory, self._state)

    def _node(self, name: str) -> LocalNode:
        found = next((n for n in self._state.nodes if n.name == name), None)
        folder = self.directory / name
        return found or LocalNode(
            name=name, data=str(folder / "data"), log=str(folder / "agent.log")
        )

    def _names(self, nodes: int | None) -> list[str]:
        known = [node.name for node in self._state.nodes]
        wanted = nodes or len(known) or DEFAULT_NODES
        if nodes and nodes < len(known):
            self._say(f"this fleet has {len(known)} nodes already")
        return known + [f"node{n}" for n in range(len(known) + 1, wanted + 1)]

    def _check(self, name: str) -> None:
        known = [node.name for node in self._state.nodes]
        if self._state.broker is not None:
            known.append(BROKER)
        known += self._services()
        if name not in known:
            raise UnknownPart(name, known or ["nothing: `edgectl local up` makes one"])

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        before = {p.pid for p in self._state.processes}
        try:
            yield
        except BaseException:
            started = [p for p in self._state.processes if p.pid not in before]
            stop(started, timeout_s=STOP_TIMEOUT_S)
            raise

    def _certify(self, names: Sequence[str]) -> None:
        # cryptography costs 40 ms that a fleet without https need not pay.
        from controller.deploy.authority import open_authority  # noqa: PLC0415

        with open_authority(self.directory / FOLDER) as authority:
            for name in names:
                authority.issue(name, [name, "localhost", HOST])
        self._save(ca=str(self.directory / FOLDER / CA))

    # --- nodes --------------------------------------------------------------------

    def _start_nodes(self, names: Sequence[str], *, same_port: bool = False) -> None:
        """All at once, then wait until each of them serves."""
        level = sandbox_level()
        if level == "rlimits":
            self._say(
                "bubblewrap is missing or not allowed here: actions run as plain"
                " processes with limits (apt-get install bubblewrap)"
            )
        for name in names:
            node = self._node(name)
            with uninterrupted():
                process = self._spawn_node(node, level, same_port=same_port)
                self._save(nodes=[replace(node, process=process)])
        for name in names:
            self._save(nodes=[self._served(self._node(name))])
        if self._state.services:
            local_monitoring.write_targets(self._monitoring, self._state.nodes)

    def _spawn_node(self, node: LocalNode, level: str, *, same_port: bool) -> Process:
        folder = self.directory / node.name
        folder.mkdir(exist_ok=True, mode=0o700)
        settings = folder / "settings.toml"
        broker = self._state.broker
        settings.write_text(
            node_settings(
                node.name,
                level=level,
                broker=None if broker is None else broker.port,
                records=self._records,
                mock_pins=self._mock_pins,
                pki=self.directory / FOLDER if self._state.ca else None,
            )
        )
        port = node.port if same_port or local_broker.is_free(node.port) else 0
        return spawn(
            node_command(settings, data=node.data, port=port),
            stdout=folder / "ready.json",
            stderr=Path(node.log),
            environ=environment(),
        )

    def _served(self, node: LocalNode) -> LocalNode:
        file = self.directory / node.name / "ready.json"
        until = time.monotonic() + START_TIMEOUT_S
        while not (text := file.read_bytes()).endswith(b"\n"):
            over = time.monotonic() > until
            if over or node.process is None or ended(node.process):
                what = "did not answer in time" if over else "did not start"
                raise LocalError(f"{node.name} {what}: {last_line(Path(node.log))}")
            time.sleep(POLL_S)
        ready = msgspec.json.decode(text, type=_Ready)
        return replace(node, **msgspec.structs.asdict(ready))

    # --- the broker ---------------------------------------------------------------

    def _start_broker(self, *, same_port: bool = False) -> None:
        old = self._state.broker
        if old is not None and old.runs:
            return
        port = old.port if old is not None else 0
        if not port or not (same_port or local_broker.is_free(port)):
            port = local_broker.free_port()
        for attempt in range(1, BROKER_ATTEMPTS + 1):
            with uninterrupted():
                broker = self._spawn_broker(port)
                self._save(broker=broker)
            if self._accepts(broker):
                return
            if same_port or attempt == BROKER_ATTEMPTS:
                reason = last_line(Path(broker.log))
                raise LocalError(f"the broker did not start: {reason}")
            port = local_broker.free_port()  # somebody was quicker

    def _spawn_broker(self, port: int) -> LocalBroker:
        folder = self.directory / BROKER
        folder.mkdir(exist_ok=True, mode=0o700)
        command = local_broker.broker_command(folder, port)
        if command is None:
            raise LocalError(
                "no MQTT broker here: apt-get install mosquitto, or pip install amqtt,"
                " or go without (--no-broker)"
            )
        (folder / "broker.conf").write_text(command.configuration)
        log = folder / "broker.log"
        process = spawn(
            command.command,
            stdout=folder / "broker.out",
            stderr=log,
            environ=environment(),
        )
        return LocalBroker(
            host=local_broker.HOST,
            port=port,
            log=str(log),
            program=command.program,
            process=process,
        )

    def _accepts(self, part: LocalBroker | LocalService) -> bool:
        until = time.monotonic() + START_TIMEOUT_S
        while part.process is not None and not ended(part.process):
            if local_broker.accepts(part.port, timeout_s=0.1):
                return not ended(part.process)
            if time.monotonic() > until:
                stop([part.process], timeout_s=STOP_TIMEOUT_S)
        return False

    # --- what looks at them -------------------------------------------------------

    @property
    def _monitoring(self) -> Path:
        return self.directory / local_monitoring.FOLDER

    def _services(self) -> dict[str, LocalService]:
        return {service.name: service for service in self._state.services}

    def _watch(self, names: Sequence[str] = ()) -> bool:
        """Start these, or all that are installed; False when they were up."""
        folder, known = self._monitoring, self._services()
        wanted = names or local_monitoring.services()
        missing = [n for n in wanted if n not in known or not known[n].runs]
        local_monitoring.write_targets(folder, self._state.nodes)
        for name in missing:
            known[name] = local_monitoring.new_service(name, folder, known.get(name))
        local_monitoring.write_configuration(
            folder, known.values(), scrape_s=self._scrape_s
        )
        for name in missing:
            with uninterrupted():
                known[name] = local_monitoring.start_service(known[name], folder)
                self._save(services=list(known.values()))
            if not self._accepts(known[name]):
                reason = last_line(Path(known[name].log))
                raise LocalError(f"{name} did not start: {reason}")
        return bool(missing)

    # --- the end ------------------------------------------------------------------

    def _stop(self, names: Sequence[str]) -> None:
        nodes = [node for node in self._state.nodes if node.name in names]
        broker = self._state.broker if BROKER in names else None
        services = [one for one in self._state.services if one.name in names]
        parts = LocalState(nodes=nodes, broker=broker, services=services)
        stop(parts.processes, timeout_s=STOP_TIMEOUT_S)
        stopped = [replace(node, process=None) for node in nodes]
        left = [
            replace(one, process=None) if one.name in names else one
            for one in self._state.services
        ]
        if broker is not None:
            self._save(nodes=stopped, broker=replace(broker, process=None))
        self._save(nodes=stopped, services=left)


def _own_paths(directory: Path, names: Sequence[str]) -> list[Path]:
    return [
        directory / name for name in (*names, BROKER, FOLDER, local_monitoring.FOLDER)
    ]
