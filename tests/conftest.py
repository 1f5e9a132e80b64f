"""What every test may use: real agents, a guard for the loop, and honest skips.

A marker whose tools are missing skips its tests; the end of the run lists each such
marker with the command that enables it.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 25.0
#: mosquitto lives in sbin; `make test` puts Prometheus beside this Python.
SYSTEM_PATH = ":".join(
    (os.environ.get("PATH", ""), "/usr/sbin", "/sbin", str(Path(sys.executable).parent))
)

# On a machine that others use as well a deadline for an example is a coin toss.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


# --- agents -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agent:
    """A running `edge-agent run`; `log` is its stderr."""

    url: str
    key: str
    system_key: str
    pid: int
    data: Path
    log: Path
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """SIGTERM, then wait: the exit code. Killed when it does not stop in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL for the agent and what is left in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)


AgentFactory = Callable[..., Agent]


@pytest.fixture
def agent_factory(tmp_path: Path) -> Iterator[AgentFactory]:
    """`agent_factory(settings="[pool] ...", data=..., options=("--host", ...))`.

    Every agent is a process of its own; all are stopped by SIGTERM at the end. Start
    a second one on the first one's `data` to see a restart.
    """
    with _agents(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_agent_factory(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AgentFactory]:
    """The same for agents that all tests of a module use, and leave as they are."""
    with _agents(tmp_path_factory.mktemp("agents")) as start:
        yield start


@contextmanager
def _agents(place: Path) -> Iterator[AgentFactory]:
    started: list[Agent] = []

    def start(
        *,
        settings: str | None = None,
        data: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> Agent:
        home = place / f"agent-{len(started)}"
        home.mkdir()
        file = home / "settings.toml"
        file.write_text(_base_settings() if settings is None else settings)
        agent = _start_agent(data or home / "data", file, home / "agent.log", options)
        started.append(agent)
        return agent

    yield start
    for agent in started:
        agent.stop()


@pytest.fixture
def agent(agent_factory: AgentFactory) -> Agent:
    """One real agent on a free port with its data below `tmp_path`."""
    return agent_factory()


@pytest.fixture(scope="module")
def shared_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One real agent for all tests of a module, which do not get in each other's way."""
    home = tmp_path_factory.mktemp("agent")
    file = home / "settings.toml"
    file.write_text(_base_settings())
    agent = _start_agent(home / "data", file, home / "agent.log", ())
    yield agent
    agent.stop()


def _base_settings() -> str:
    level = "namespaces" if _bubblewrap_works() else "rlimits"
    return f'[sandbox]\nminimum_level = "{level}"\n'


def _start_agent(
    data: Path, settings: Path, log: Path, options: tuple[str, ...]
) -> Agent:
    arguments = ["run", "--port", "0", "--print-json", "--data", str(data)]
    command = [sys.executable, "-m", "edge_agent", *arguments]
    command += ["--settings", str(settings), *options]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    facts = json.loads(_first_line(process, log))
    return Agent(
        url=facts["url"],
        key=facts["key"],
        system_key=facts["system_key"],
        pid=facts["pid"],
        data=Path(facts["data"]),
        log=log,
        process=process,
    )


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline() if ready else ""
    process.stdout.close()
    if not line.startswith("{"):
        process.kill()
        code = process.wait()
        pytest.fail(f"the agent did not start (exit {code}): {log.read_text()[-2000:]}")
    return line


# --- brokers ------------------------------------------------------------------------


@dataclass(slots=True)
class Broker:
    """A real mosquitto on a port of its own; `lines` are added to its configuration.

    `stop` lets it save its sessions and queues, `kill` does not; `start` runs it again
    on the same port with what it has saved.
    """

    home: Path
    port: int
    lines: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.home / "mosquitto.conf"
        config.write_text("\n".join([*self._base_lines(), *self.lines, ""]))
        program = shutil.which("mosquitto", path=SYSTEM_PATH)
        assert program is not None
        with (self.home / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-c", str(config)], stdout=log, stderr=log
            )
        self._wait_until_it_listens()

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(sent)
            self.process.wait(STOP_TIMEOUT_S)
            self.process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _base_lines(self) -> list[str]:
        return [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.home}/",
            "max_queued_messages 0",
            "set_tcp_nodelay true",
            *(["user root"] if os.geteuid() == 0 else []),
            *(
                []
                if any("allow_anonymous" in line for line in self.lines)
                else ["allow_anonymous true"]
            ),
        ]

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        pytest.fail((self.home / "mosquitto.log").read_text())


BrokerFactory = Callable[..., Broker]


@pytest.fixture
def broker_factory(tmp_path: Path) -> Iterator[BrokerFactory]:
    """`broker_factory("acl_file ...", start=False)`; mark the test `broker`."""
    made: list[Broker] = []

    def make(*lines: str, start: bool = True) -> Broker:
        home = tmp_path / f"broker-{len(made)}"
        home.mkdir()
        broker = Broker(home=home, port=_free_port(), lines=lines)
        made.append(broker)
        if start:
            broker.start()
        return broker

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(broker_factory: BrokerFactory) -> Broker:
    """One mosquitto as we configure it: nothing dropped, sessions kept, no Nagle."""
    return broker_factory()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- the loop -----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def loop_guard(request: pytest.FixtureRequest) -> Iterator[BlockBuster | None]:
    """Code of ours that blocks the event loop fails the test; tests may block it."""
    test = getattr(request.node, "obj", None)
    allowed = request.node.get_closest_marker("blocks_loop") is not None
    if allowed or not inspect.iscoroutinefunction(test):
        yield None
        return
    with blockbuster_ctx(["edge_agent", "controller"]) as guard:
        yield guard


# --- what a machine may lack --------------------------------------------------------


@cache
def _has(program: str) -> bool:
    return shutil.which(program, path=SYSTEM_PATH) is not None


@cache
def _bubblewrap_works() -> bool:
    if not _has("bwrap"):
        return False
    probe = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class Need:
    met: Callable[[], bool]
    remedy: str


CONTROL_PLANE = ("helm", "etcd", "kube-apiserver", "kube-controller-manager")
CONTROL_PLANE += ("kube-scheduler",)
NEEDS = {
    "broker": Need(lambda: _has("mosquitto"), "apt-get install mosquitto"),
    "sandbox": Need(
        _bubblewrap_works,
        "apt-get install bubblewrap (and a kernel with user namespaces)",
    ),
    "compiler": Need(
        lambda: _has("cc") or _has("gcc"), "apt-get install gcc libc6-dev"
    ),
    "docker": Need(
        lambda: os.geteuid() == 0 and _has("dockerd"), "apt-get install docker.io"
    ),
    "podman": Need(
        lambda: os.geteuid() == 0 and _has("podman") and _has("runc"),
        "apt-get install podman runc",
    ),
    "node": Need(lambda: _has("node"), "apt-get install nodejs"),
    "browser": Need(lambda: _has("chromium"), "apt-get install chromium"),
    "clients": Need(lambda: _has("npm"), "apt-get install npm"),
    "wsk": Need(
        lambda: _has(os.environ.get("WSK", "wsk")),
        "WSK=/path/to/wsk (Apache OpenWhisk's CLI, from its releases)",
    ),
    "kubernetes": Need(
        lambda: all(map(_has, CONTROL_PLANE)) and find_spec("kubernetes") is not None,
        "pip install 'edgewhisk[kubernetes]', and " + ", ".join(CONTROL_PLANE),
    ),
    "prometheus": Need(
        lambda: _has("prometheus"),
        "apt-get install --no-install-recommends prometheus",
    ),
}
# What runs only when it is asked for by -m, and who asks.
ASKED_FOR = {
    "hosts": "make hosts (as root on Debian; takes minutes)",
    "engines": "make engines (as root on Debian; takes a minute)",
    "kernel": "make kernel (as root on Debian; takes minutes)",
}
# A reason to skip that tells what to do about it.
MENDABLE = re.compile(r"apt-get|WSK=|make (hosts|engines|kernel)")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Skip what cannot run here, and of `ASKED_FOR` what nobody has asked for."""
    expression = config.getoption("markexpr") or ""
    unasked = {name for name in ASKED_FOR if name not in expression}
    for item in items:
        names = {mark.name for mark in item.iter_markers()}
        for name in names & unasked:
            _skip(item, name, ASKED_FOR[name])
        for name in names & NEEDS.keys():
            if not NEEDS[name].met():
                _skip(item, name, NEEDS[name].remedy)


def _skip(item: pytest.Item, marker: str, remedy: str) -> None:
    item.add_marker(pytest.mark.skip(reason=f"{marker}: {remedy}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reports
        if isinstance(report.longrepr, tuple)
    )
    mendable = {text: n for text, n in reasons.items() if MENDABLE.search(text)}
    if mendable:
        terminalreporter.section("skipped here, and what enables it")
    for text, count in sorted(mendable.items()):
        terminalreporter.line(f"{count:4} tests: {text}")
