"""Real engines: Docker's and Podman's, each with its own data folder and socket.

No image can be pulled here, so one is made: Python, its libraries, and a runtime in few
lines (`runtime.py`). There is no bridge: containers have no network, and are reached
within their namespace. The engines live for the whole run, since they take seconds to
start.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.sandbox.base import InitRequest, RunRequest, SandboxSpec
from edge_agent.sandbox.container.factory import ContainerFactory
from edge_agent.sandbox.container.sandbox import ContainerSandbox

HERE = Path(__file__).parent
IMAGE = "edgewhisk/test-python:latest"
BARE = "edgewhisk/test-bare:latest"
COMMAND = ["/usr/bin/python3", "-S", "/runtime.py"]
PYTHON = "/usr/bin/python3"
START_TIMEOUT_S = 15.0
ACTION_S = 25.0
LOGS = 10 << 20


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """`call` speaks to it as any client would."""

    socket: str
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Any:
        connection = HTTPConnection("engine")
        connection.sock = socket.socket(socket.AF_UNIX)
        with connection.sock:
            connection.sock.settimeout(30)
            connection.sock.connect(self.socket)
            headers = {"Content-Type": kind or "application/json"}
            connection.request(method, f"/v1.41{path}", body, headers)
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status < 400, text
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else None

    def containers(self) -> list[str]:
        return [each["Id"] for each in self.call("GET", "/containers/json?all=true")]

    def load(self, name: str, root: bytes, *changes: str) -> None:
        """Make an image of a tar file, as `docker import` does."""
        from urllib.parse import quote, urlencode

        repository, _, tag = name.partition(":")
        query = urlencode({"fromSrc": "-", "repo": repository, "tag": tag})
        query += "".join(f"&changes={quote(change)}" for change in changes)
        self.call("POST", f"/images/create?{query}", root, "application/x-tar")


@pytest.fixture(scope="session")
def root_file_system() -> bytes:
    """What is in the image, as a tar file."""
    return _root_file_system()


@pytest.fixture(scope="session")
def command() -> list[str]:
    """What the image runs."""
    return COMMAND


@pytest.fixture(scope="session")
def docker(
    tmp_path_factory: pytest.TempPathFactory, root_file_system: bytes
) -> Iterator[RunningEngine]:
    home = tmp_path_factory.mktemp("docker")
    command = [
        shutil.which("dockerd", path="/usr/sbin:/usr/bin") or "dockerd",
        *("--data-root", f"{home}/data", "--exec-root", f"{home}/exec"),
        *("--pidfile", f"{home}/pid", "-H", f"unix://{home}/sock"),
        *("--iptables=false", "--bridge=none", "--ip-forward=false"),
    ]
    yield from _running(command, home, {}, root_file_system)


@pytest.fixture(scope="session")
def podman(
    tmp_path_factory: pytest.TempPathFactory, root_file_system: bytes
) -> Iterator[RunningEngine]:
    home = tmp_path_factory.mktemp("podman")
    runtime = home / "oci"
    runtime.write_text(_MODEST_RUNTIME)
    runtime.chmod(0o755)
    config = home / "containers.conf"
    config.write_text('[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    command = [
        *("podman", "--root", f"{home}/root", "--runroot", f"{home}/run"),
        *("--runtime", str(runtime), "--storage-driver", "overlay"),
        *("system", "service", "--time=0", f"unix://{home}/sock"),
    ]
    yield from _running(
        command, home, {"CONTAINERS_CONF": str(config)}, root_file_system
    )


#: Podman raises RLIMIT_NPROC, which not every root may; crun refuses cgroups in hybrid
#: mode, which runc does not.
_MODEST_RUNTIME = f"""#!{PYTHON}
import json, os, sys
if "--bundle" in sys.argv:
    path = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
    config = json.load(open(path))
    limits = config["process"].get("rlimits", [])
    config["process"]["rlimits"] = [l for l in limits if l["type"] != "RLIMIT_NPROC"]
    json.dump(config, open(path, "w"))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


def _running(
    command: list[str], home: Path, environment: dict[str, str], root: bytes
) -> Iterator[RunningEngine]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment, "PATH": path},
            start_new_session=True,
        )
    engine = RunningEngine(f"{home}/sock", process)
    try:
        _wait_until_it_answers(engine, home / "log")
        engine.load(IMAGE, root, f"CMD {json.dumps(COMMAND)}")
        engine.load(BARE, root, 'CMD ["/no/such/program"]')
        yield engine
        for container in engine.containers():
            engine.call("DELETE", f"/containers/{container}?force=true")
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(START_TIMEOUT_S)
        _clear(home)


def _clear(home: Path) -> None:
    """Mounts first: an engine that was stopped may have left some."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(home, ignore_errors=True)


def _wait_until_it_answers(engine: RunningEngine, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and engine.process.poll() is None:
        with suppress(OSError):
            engine.call("GET", "/version")
            return
        time.sleep(0.05)
    pytest.fail(f"the engine did not start: {log.read_text()[-2000:]}")


def _root_file_system() -> bytes:
    """A tar file: Python, the modules that the runtime imports, and their libraries."""
    ask = (
        "import sys; sys.argv = ['', '']; import runpy;"
        "runpy.run_path(sys.path.pop(0) + '/runtime.py', run_name='asked');"
        "import random, resource, encodings.idna, encodings.latin_1;"
        "print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', 0)})"
    )
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); {ask}"
    asked = subprocess.run(
        [PYTHON, "-S", "-B", "-c", code], capture_output=True, text=True, check=True
    )
    found = asked.stdout.split()
    python = os.path.realpath(PYTHON)
    needed = {lib for file in (python, *found) for lib in _libraries(file)}
    return _tar({PYTHON: python} | {file: file for file in {*found, *needed}})


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("tmp", "proc", "sys", "dev", "etc", "action"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(made)
        for inside, outside in files.items():
            if Path(outside).is_file():
                tar.add(os.path.realpath(outside), arcname=inside.lstrip("/"))
        tar.add(HERE / "runtime.py", arcname="runtime.py")
    return buffer.getvalue()


def _libraries(file: str) -> set[str]:
    if file.endswith(".py"):
        return set()
    listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+) \(0x", listed.stdout))


# --- the driver -----------------------------------------------------------------------


Open = Callable[..., Any]


@pytest.fixture
async def open_factory() -> AsyncIterator[Open]:
    opened: list[ContainerFactory] = []

    async def open_(engine: RunningEngine, **wanted: Any) -> ContainerFactory:
        containers = settings.Containers(socket=engine.socket, network="none", **wanted)
        factory = await ContainerFactory.open(containers, pool_mb=1024)
        assert isinstance(factory, ContainerFactory), factory
        opened.append(factory)
        return factory

    yield open_
    for factory in opened:
        await factory.close()


@dataclass
class House:
    """A factory, and how an action is put into one of its containers."""

    engine: RunningEngine
    factory: ContainerFactory

    async def sandbox(self, **spec: Any) -> ContainerSandbox:
        spec = {"kind": f"blackbox:{IMAGE}", "memory_mb": 128, **spec}
        return await self.factory.create(SandboxSpec(**spec))

    async def init(self, sandbox: ContainerSandbox, code: str, **given: Any) -> Any:
        request = InitRequest("a", "main", code, binary=False, env={"GIVEN": "yes"})
        limits = {"timeout_s": ACTION_S, "logs_bytes": LOGS, **given}
        return await sandbox.init(request, **limits)

    async def ready(self, code: str, **spec: Any) -> ContainerSandbox:
        sandbox = await self.sandbox(**spec)
        ran = await self.init(sandbox, code)
        assert ran.said.ok, ran
        return sandbox

    async def run(
        self, sandbox: ContainerSandbox, value: Any = None, **given: Any
    ) -> Any:
        request = RunRequest(json.dumps(value or {}).encode(), {"activation_id": "1"})
        limits = {"timeout_s": ACTION_S, "logs_bytes": LOGS, **given}
        return await sandbox.run(request, **limits)


@pytest.fixture
def make_house(docker: RunningEngine, open_factory: Open) -> Open:
    """Of Docker, with settings given by name."""

    async def make(**wanted: Any) -> House:
        return House(docker, await open_factory(docker, **wanted))

    return make


@pytest.fixture
async def house(make_house: Open) -> House:
    house: House = await make_house()
    return house


@pytest.fixture
async def podman_house(podman: RunningEngine, open_factory: Open) -> House:
    return House(podman, await open_factory(podman))
