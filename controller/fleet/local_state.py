"""What is written down about a fleet on this machine (`controller.local` makes it).

`DIR/fleet.json` holds the nodes and the broker, with the identity of each process: its
id alone could by now be somebody else's, so the moment it was started counts too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from controller.fleet.process import Process
from edge_agent.model.errors import EdgeWhiskError

STATE_FILE = "fleet.json"


class LocalStateError(EdgeWhiskError):
    """The state file cannot be used."""

    exit_code: ClassVar[int] = 2


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """`url` and keys are empty until it has served once; `process` while it is down."""

    name: str
    data: str
    log: str
    url: str = ""
    tls_url: str = ""
    key: str = ""
    system_key: str = ""
    process: Process | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def port(self) -> int:
        """0 before it has served."""
        return int(self.url.rpartition(":")[2] or 0)


class LocalBroker(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    log: str
    program: str
    process: Process | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.alive


class LocalService(msgspec.Struct, frozen=True, kw_only=True):
    """What looks at the fleet: `prometheus` or `grafana`."""

    name: str
    port: int
    log: str
    program: str = ""
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.alive


class LocalState(msgspec.Struct, frozen=True, kw_only=True):
    """`ca`: the file of the authority, for a fleet with https."""

    ca: str = ""
    nodes: list[LocalNode] = []
    broker: LocalBroker | None = None
    services: list[LocalService] = []

    @property
    def processes(self) -> list[Process]:
        found = [node.process for node in self.nodes]
        found += [service.process for service in self.services]
        if self.broker is not None:
            found.append(self.broker.process)
        return [process for process in found if process is not None]


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
