"""What is written down about a fleet on this machine (`controller.local` makes it).

`DIR/fleet.json` holds the nodes and the broker, with the identity of each process: its
id alone could by now be somebody else's, so the moment it was started counts too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.model.errors import EdgeWhiskError

STATE_FILE = "fleet.json"


class LocalStateError(EdgeWhiskError):
    """The state file cannot be used."""


class Process(msgspec.Struct, frozen=True):
    """A process id and when that process was started, as this system tells it."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        return birth(self.pid) == self.born


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """`process` is None when it was stopped on purpose."""

    name: str
    url: str
    key: str
    system_key: str
    data: str
    log: str
    process: Process | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class LocalBroker(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    log: str
    program: str
    process: Process | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.alive


class LocalState(msgspec.Struct, frozen=True, kw_only=True):
    nodes: list[LocalNode] = []
    broker: LocalBroker | None = None


def local_dir(environ: Mapping[str, str], home: Path) -> Path:
    """`EDGEWHISK_LOCAL_DIR`, else `edgewhisk/local` below the XDG data folder."""
    named = environ.get("EDGEWHISK_LOCAL_DIR")
    if named:
        return Path(named)
    return data_home(environ, home) / "local"


def data_home(environ: Mapping[str, str], home: Path) -> Path:
    data = environ.get("XDG_DATA_HOME")
    return (Path(data) if data else home / ".local" / "share") / "edgewhisk"


def read_state(directory: Path) -> LocalState | None:
    """None when there is no fleet in `directory`.

    Raises:
        LocalStateError: there is a state file but it is not one of ours.
    """
    path = directory / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=LocalState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LocalStateError(f"{path}: cannot be read: {error}") from error


def write_state(directory: Path, state: LocalState) -> None:
    """Replace the state file in one step; it holds keys, so only its owner reads it."""
    path = directory / STATE_FILE
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 os.open set its mode
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2))
    new.replace(path)


def birth(pid: int) -> str | None:
    """When process `pid` was started, None when there is none (or only its zombie).

    On Linux the boot's id and the start in clock ticks since then; elsewhere what
    `ps` says.
    """
    stat = Path("/proc") / str(pid) / "stat"
    if Path("/proc/self/stat").exists():
        with suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] not in {"Z", "X"}:
                return f"{_boot_id()}/{fields[19]}"
        return None
    return _birth_by_ps(pid)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _birth_by_ps(pid: int) -> str | None:
    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or None
