"""The MQTT broker of a fleet on this machine.

mosquitto when it is installed, else amqtt; for demonstration and development only. By
itself mosquitto drops what a slow subscriber has not fetched beyond 1,000 messages and
lets Nagle delay small ones, so it is told otherwise.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
QUEUE_BYTES = 256 << 20
CONNECT_TIMEOUT_S = 1.0
#: Debian puts mosquitto where only root looks.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class BrokerCommand:
    """How to start the broker, and what it is called."""

    program: str
    command: tuple[str, ...]
    configuration: str


def broker_command(folder: Path, port: int) -> BrokerCommand | None:
    """None when neither broker is installed. Nothing is written yet."""
    file = str(folder / "broker.conf")
    mosquitto = shutil.which("mosquitto", path=_PATH)
    if mosquitto:
        text = mosquitto_configuration(folder, port)
        return BrokerCommand("mosquitto", (mosquitto, "-c", file), text)
    if importlib.util.find_spec("amqtt") is not None:
        module = "amqtt.scripts.broker_script"
        command = (sys.executable, "-P", "-m", module, "-c", file)
        return BrokerCommand("amqtt", command, amqtt_configuration(port))
    return None


def mosquitto_configuration(folder: Path, port: int) -> str:
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_interval 60",
        "max_queued_messages 0",
        f"max_queued_bytes {QUEUE_BYTES}",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it drops to a user who cannot write here
    return "\n".join(lines) + "\n"


def amqtt_configuration(port: int) -> str:
    return f"""\
listeners:
  default:
    type: tcp
    bind: {HOST}:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


def free_port() -> int:
    """A port that nobody has right now; mosquitto cannot choose one by itself."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> bool:
    """Whether somebody listens there before `timeout_s` is over."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), CONNECT_TIMEOUT_S).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
