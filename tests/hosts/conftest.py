"""Real machines for the deployment: Debian with systemd, sshd and a user with sudo.

A root made once by debootstrap (kept in the user's cache), an overlay for each machine,
booted by systemd-nspawn on a bridge in a network namespace. The machines have no way
out: what they get, they get from the deployment.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.deploy.bundle import fetch_packages
from controller.deploy.release import CONSTRAINTS, make_release
from tests.hosts.site import Outcome, Site

SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = (
    "bubblewrap",
    "ca-certificates",
    "dbus",
    "iproute2",
    "mosquitto",
    "openssh-server",
    "python3",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# What a machine may be without: the bundle has it.
LACKING = ("bubblewrap", "mosquitto")
USER = "pi"
SUBNET = "10.77.0"
BOOT_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30
COMMAND_TIMEOUT_S = 300
NETWORK_UNIT = f"""[Unit]
DefaultDependencies=no
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/bin/ip link set host0 up
ExecStart=/bin/ip address add ADDRESS/24 dev host0
ExecStart=/bin/ip route add default via {SUBNET}.1

[Install]
WantedBy=multi-user.target
"""


def run(*command: str | Path, timeout: float = COMMAND_TIMEOUT_S) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(slots=True)
class Machine:
    """One machine; `enter` is the command that enters its network, `root` its files.

    `port` is where it is plugged into the network.
    """

    name: str
    address: str
    key: Path
    root: Path
    enter: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> str:
        return f"vb-{self.name}"

    def boot(self) -> None:
        nspawn = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "-b"]
        nspawn += ["--network-bridge=br0", f"--machine={self.name}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.enter, *nspawn, "-D", str(self.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Else parts of /proc are covered, and the kernel lets nobody inside
                # mount a new one, which a machine of its own allows.
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"},
            )
        self.wait_until_up()

    def ssh(self, command: str, *, timeout: float = 60) -> str:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        options += ["ConnectTimeout=2", "LogLevel=ERROR"]
        flags = [part for option in options for part in ("-o", option)]
        where = f"{USER}@{self.address}"
        return run(
            *self.enter, "ssh", "-i", self.key, *flags, where, command, timeout=timeout
        )

    def wait_until_up(self) -> None:
        assert self.process is not None
        give_up = time.monotonic() + BOOT_TIMEOUT_S
        while True:
            try:
                self.ssh("systemctl is-system-running --wait || true")
            except (AssertionError, subprocess.TimeoutExpired):
                if time.monotonic() > give_up or self.process.poll() is not None:
                    raise
                time.sleep(0.5)
            else:
                return

    def plug(self, *, into: bool) -> None:
        """Its cable, pulled out or plugged in again."""
        state = "up" if into else "down"
        run(*self.enter, "ip", "link", "set", self.port, state)

    def lose_power(self) -> None:
        """Its first process is killed, and with it all; systemd-nspawn ends then."""
        if self.process is None or self.process.poll() is not None:
            return
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def power_off(self) -> None:
        """SIGTERM makes systemd-nspawn shut the machine down in order."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.lose_power()

    def written_bytes(self) -> int:
        """What has been written to its disk, the file system's own writes included."""
        run("sync", "-f", self.root)
        disk = run("findmnt", "-no", "SOURCE", self.root.parent).strip()
        sectors = Path("/sys/block", Path(disk).name, "stat").read_text().split()[6]
        return int(sectors) * 512


@dataclass(frozen=True, slots=True)
class Lab:
    """Where machines are made: a Debian root, a network, a folder in memory."""

    root: Path
    folder: Path
    key: Path
    namespace: str

    @property
    def enter(self) -> tuple[str, ...]:
        # Not `ip netns exec`: it hides the control groups that systemd-nspawn needs.
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    @contextmanager
    def machine(self, name: str, number: int, *, disk_mb: int = 0) -> Iterator[Machine]:
        """A booted machine; with `disk_mb` it has a disk of its own, of that size."""
        address = f"{SUBNET}.{10 + number}"
        (self.folder / name).mkdir()
        with self._disk(name, disk_mb), self._overlay(name) as root:
            self._furnish(root, name, address)
            log = self.folder / f"{name}.log"
            machine = Machine(name, address, self.key, root, self.enter, log)
            try:
                machine.boot()
                yield machine
            finally:
                machine.power_off()

    @contextmanager
    def _disk(self, name: str, size_mb: int) -> Iterator[None]:
        if not size_mb:
            yield
            return
        image = self.folder / f"{name}.ext4"
        with image.open("wb") as file:
            file.truncate(size_mb << 20)
        now = "lazy_itable_init=0,lazy_journal_init=0"
        run("mkfs.ext4", "-q", "-m", "0", "-E", now, image)
        run("mount", "-o", "loop", image, self.folder / name)
        try:
            yield
        finally:
            run("umount", self.folder / name)
            image.unlink()

    @contextmanager
    def _overlay(self, name: str) -> Iterator[Path]:
        parts = {part: self.folder / name / part for part in ("up", "work", "root")}
        for part in parts.values():
            part.mkdir()
        layers = f"lowerdir={self.root},upperdir={parts['up']},workdir={parts['work']}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, parts["root"])
        try:
            yield parts["root"]
        finally:
            run("umount", parts["root"])

    def _furnish(self, root: Path, name: str, address: str) -> None:
        (root / "etc/hostname").write_text(f"{name}\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost {name}\n")
        units = root / "etc/systemd/system"
        (units / "host0.service").write_text(NETWORK_UNIT.replace("ADDRESS", address))
        wanted = units / "multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        (wanted / "host0.service").symlink_to("../host0.service")
        keys = root / "home" / USER / ".ssh" / "authorized_keys"
        keys.parent.mkdir()
        keys.write_bytes(self.key.with_suffix(".pub").read_bytes())
        run("chroot", root, "chown", "-R", f"{USER}:", f"/home/{USER}/.ssh")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    for program in ("debootstrap", "systemd-nspawn", "ssh-keygen", "nsenter", "ip"):
        if os.geteuid() != 0 or not shutil.which(program):
            pytest.fail(
                "make hosts needs root and: apt-get install debootstrap"
                " systemd-container openssh-client iproute2"
            )
    folder = tmp_path_factory.mktemp("lab")
    root = debian_root()
    with in_memory(folder), bridged(f"edgewhisk-{os.getpid()}") as namespace:
        key = folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        yield Lab(root, folder, key, namespace)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release")).wheel


@pytest.fixture(scope="session")
def edgectl(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an installer leaves it, to be first on the path.

    So the deployments of a session are of one release, whatever happens meanwhile to
    the checkout, and it is packed from the installed files.
    """
    folder = tmp_path_factory.mktemp("edgectl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def wheelhouse(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of everything that a node of `SUITE` needs."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    pip += ["--quiet", "--only-binary=:all:", f"--python-version={PYTHON}"]
    pip += ["-c", str(CONSTRAINTS), "-d", str(folder)]
    run(*pip, f"edgewhisk[agent] @ file://{wheel}")
    if platform.freedesktop_os_release().get("VERSION_CODENAME") == SUITE:
        fetch_packages(LACKING, folder / "deb")
    return folder


@pytest.fixture(scope="session")
def fleet(
    lab: Lab, wheelhouse: Path, edgectl: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Three machines, deployed to; one booted fleet for all that need three."""
    with ExitStack() as stack:
        machines = tuple(
            stack.enter_context(lab.machine(f"fleet{n}", 10 + n)) for n in (1, 2, 3)
        )
        yield Site(machines, tmp_path_factory.mktemp("fleet"), wheelhouse, edgectl)


@pytest.fixture(scope="session")
def fleet_deployed(fleet: Site) -> Outcome:
    """The fleet's first deployment; the first machine is its broker."""
    return fleet.deploy(fleet.with_broker())


def debian_root() -> Path:
    """Made once a package list: a minute, in memory, since dpkg syncs every file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    listed = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    root = cache / "edgewhisk" / f"{SUITE}-{listed}"
    if root.is_dir():
        return root
    partial = root.with_suffix(f".{os.getpid()}")
    partial.mkdir(parents=True)
    with in_memory(partial):
        included = ",".join(PACKAGES)
        run(
            *("debootstrap", "--variant=minbase", f"--include={included}"),
            *(SUITE, partial),
            timeout=1200,
        )
        run("chroot", partial, "useradd", "-m", "-s", "/bin/bash", USER)
        sudo = partial / "etc/sudoers.d" / USER
        sudo.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        sudo.chmod(0o440)
        run("chroot", partial, "apt-get", "clean")
        run("cp", "-a", partial, partial.with_suffix(".copy"))
    partial.rmdir()
    partial.with_suffix(".copy").rename(root)
    return root


@contextmanager
def in_memory(folder: Path) -> Iterator[None]:
    run("mount", "-t", "tmpfs", "-o", "size=3g,mode=755", "tmpfs", folder)
    try:
        yield
    finally:
        run("umount", folder)


@contextmanager
def bridged(namespace: str) -> Iterator[str]:
    """A network namespace with a bridge for the machines, and nothing beyond it."""
    ip = ("ip", "-n", namespace)
    with ExitStack() as stack:
        run("ip", "netns", "add", namespace)
        stack.callback(run, "ip", "netns", "delete", namespace)
        run(*ip, "link", "set", "lo", "up")
        run(*ip, "link", "add", "br0", "type", "bridge")
        run(*ip, "address", "add", f"{SUBNET}.1/24", "dev", "br0")
        run(*ip, "link", "set", "br0", "up")
        yield namespace
