"""The units of the role openwhisk_lean: systemd's word, and a container that runs.

`tests/hosts/test_lean.py` has the jar on a real machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.deploy.release import find_ansible

ROLES = find_ansible() / "roles"
SOURCE = Path(__file__).parents[1] / "hosts/standalone/Standalone.java"
DIGEST = "sha256:" + "a" * 64
KEYS = {"openwhisk_lean_key": "u:k", "openwhisk_lean_system_key": "s:k"}
JAR = {"openwhisk_lean_jar": "/x.jar", "openwhisk_lean_image": ""}
IMAGE = {"openwhisk_lean_jar": "", "openwhisk_lean_image": f"ow/standalone@{DIGEST}"}
KINDS = [
    {"kind": "nodejs:20", "name": "action-nodejs-v20"},
    {"kind": "nodejs:22", "name": "action-nodejs-v22", "tag": "7", "prefix": "me"},
    {"kind": "python:3.11", "name": "action-python-v3.11"},
]
START_TIMEOUT_S = 60


def render(folder: Path, *wanted: tuple[str, str, dict[str, Any]]) -> None:
    """Templates of the role by Ansible itself, with the role's own variables.

    Each of `wanted` is a file's name below `folder`, its template and its variables.
    """
    files = [f"{ROLES}/openwhisk_lean/{kind}/main.yml" for kind in ("defaults", "vars")]
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": {"file": file}} for file in files
    ]
    for name, template, variables in wanted:
        source = f"{ROLES}/openwhisk_lean/templates/{template}.j2"
        tasks += [
            {"ansible.builtin.set_fact": KEYS | variables},
            {
                "ansible.builtin.template": {
                    "src": source,
                    "dest": str(folder / name),
                }
            },
        ]
    file = folder / "play.json"
    file.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", str(file)),
            *("-i", "attic,", "-c", "local"),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("units")
    here = {"openwhisk_lean_java": "/bin/true", "openwhisk_lean_docker": "/bin/true"}
    unit = "openwhisk-lean.service"
    for way in ("jar", "image"):
        (folder / way).mkdir()
    render(
        folder,
        (f"jar/{unit}", unit, JAR | here),
        (f"image/{unit}", unit, IMAGE | here),
        ("runtimes.json", "runtimes.json", {"openwhisk_lean_kinds": KINDS}),
    )
    return folder


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["jar", "image"])
def test_systemd_takes_the_unit(units: Path, way: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("apt-get install systemd")
    file = units / way / "openwhisk-lean.service"

    said = subprocess.run(
        ["systemd-analyze", "verify", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    ours = [line for line in said.stderr.splitlines() if "openwhisk-lean" in line]
    assert ours == []
    assert "-Xmx512m" in file.read_text()
    assert "MemoryMax=" in file.read_text()
    assert ("run --rm" in file.read_text()) is (way == "image")


@pytest.mark.timeout(60)
def test_kinds_have_one_default_each_and_tags_of_their_own(units: Path) -> None:
    runtimes = json.loads((units / "runtimes.json").read_text())["runtimes"]

    assert [one["default"] for one in runtimes["nodejs"]] == [True, False]
    assert [one["default"] for one in runtimes["python"]] == [True]
    assert runtimes["nodejs"][1]["image"] == {
        "prefix": "me",
        "name": "action-nodejs-v22",
        "tag": "7",
    }


# --- the container, on a real engine ------------------------------------------------


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a Docker of the test's own; it cannot pull."""
    home = tmp_path_factory.mktemp("d")  # the paths of sockets are short
    host = f"unix://{home}/sock"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--data-root", f"{home}/data", "-H", host),
                *("--exec-root", f"{home}/exec", "--pidfile", f"{home}/pid"),
                *("--iptables=false", "--bridge=none", "--ip-forward=false"),
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path},
            start_new_session=True,
        )

    try:
        until(lambda: answers(host), (home / "log").read_text)
        yield home / "sock"
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)
        clear(home)


@pytest.fixture
def docker(engine: Path) -> Callable[..., str]:
    """`docker ARGUMENTS` of that engine."""

    def call(*arguments: str | Path) -> str:
        done = subprocess.run(
            ["docker", "-H", f"unix://{engine}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is in the image: a Java, the jar, and what a Java stands on."""
    if not (shutil.which("javac") and shutil.which("jlink")):
        pytest.skip("apt-get install default-jdk-headless")
    folder = tmp_path / "root"
    classes = tmp_path / "classes"
    java = folder / "java"
    for command in (
        ["javac", "-d", str(classes), str(SOURCE)],
        ["jlink", "--add-modules", "java.base,jdk.httpserver", "--output", str(java)],
        ["jar", "cfe", str(folder / "ow.jar"), "Standalone", "-C", str(classes), "."],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    for library in libraries(java / "bin/java", java / "lib/server/libjvm.so"):
        place = folder / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, place)
    (folder / "init").write_text("")
    return folder


def answers(host: str) -> bool:
    command = ["docker", "-H", host, "version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def clear(home: Path) -> None:
    """Mounts first: an engine that was stopped may have left some."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    shutil.rmtree(home, ignore_errors=True)


def libraries(*programs: Path) -> set[Path]:
    said = "".join(
        subprocess.run(["ldd", one], check=True, capture_output=True, text=True).stdout
        for one in programs
    )
    found = re.findall(r"(?:^\t|=> )(/\S+) \(0x", said, re.MULTILINE)
    return {Path(one) for one in found if one.startswith(("/lib", "/usr/lib"))}


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_container_serves_with_the_keys_of_its_configuration(
    engine: Path, docker: Callable[..., str], root: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")
    entry = json.dumps(["/java/bin/java", "-jar", "/ow.jar"])
    image = docker("import", "--change", f"ENTRYPOINT {entry}", str(archive))
    port = free_port()
    given = {
        "openwhisk_lean_jar": "",
        "openwhisk_lean_image": image,
        "openwhisk_lean_config_dir": str(tmp_path / "etc"),
        "openwhisk_lean_port": port,
        "openwhisk_lean_host": "127.0.0.1",
        "openwhisk_lean_memory_max": "300m",
        "openwhisk_lean_docker_socket": str(engine),
    }
    (tmp_path / "etc").mkdir()
    unit = "openwhisk-lean.service"
    render(
        tmp_path,
        ("etc/lean.conf", "lean.conf", given),
        ("etc/runtimes.json", "runtimes.json", given),
        (unit, unit, given),
    )
    command = start_of((tmp_path / unit).read_text())

    running = subprocess.Popen(
        [command[0], "-H", f"unix://{engine}", *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        health = subprocess.run(
            [
                *(sys.executable, ROLES / "openwhisk_lean/files/health.py"),
                *(f"http://127.0.0.1:{port}", tmp_path / "etc/lean.conf"),
                *("60", "20", "nodejs:20"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        memory = docker("inspect", "-f", "{{.HostConfig.Memory}}", "openwhisk-lean")
    finally:
        docker("stop", "openwhisk-lean")
        os.killpg(running.pid, signal.SIGTERM)
        _, talk = running.communicate(timeout=30)

    assert health.returncode == 0, health.stderr + talk
    assert memory == str(300 << 20)
    assert docker("ps", "--all", "--quiet") == ""


def start_of(unit: str) -> list[str]:
    """The command that systemd would run."""
    (line,) = [one for one in unit.splitlines() if one.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def until(met: Callable[[], bool], log: Callable[[], str]) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while not met():
        assert time.monotonic() < give_up, log()[-2000:]
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
