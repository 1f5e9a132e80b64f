"""The https listener, keys that are given, and what systemd hands over."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.listening import check_keys
from edge_agent.model.errors import SettingsError
from edge_agent.settings import Server
from tests.certificates import Authority

Agents = Callable[..., Any]
LEVEL = '[sandbox]\nminimum_level = "rlimits"\n'
GIVEN = "11111111-1111-1111-1111-111111111111:" + "a" * 64
FORMER = "22222222-2222-2222-2222-222222222222:" + "b" * 64
PUBLIC = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.certificate)
    return authority


def tls_settings(tmp_path: Path, authority: Authority) -> str:
    certificate, key = authority.issue("node").write(tmp_path, "node")
    return (
        f'[server.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
        f'host = "127.0.0.1"\nport = 0\n{LEVEL}'
    )


def get(port: int, path: str, *, ca: Path | None = None, key: str = "") -> int:
    """The status of a GET on 127.0.0.1, with TLS when there is an authority."""
    connection: http.client.HTTPConnection
    if ca is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        context = ssl.create_default_context(cafile=str(ca))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=10, context=context
        )
    token = base64.b64encode(key.encode()).decode()
    connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def facts_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    facts: dict[str, Any] = json.loads(process.stdout.readline())
    return facts


@pytest.mark.blocks_loop("a process of its own")
def test_https_is_served_beside_http_and_a_new_certificate_by_sighup(
    tmp_path: Path, authority: Authority
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(tls_settings(tmp_path, authority))
    command = [sys.executable, "-m", "edge_agent", "run", "--print-json"]
    command += ["--settings", str(file), "--port", "0", "--data", str(tmp_path / "d")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            facts = facts_of(process)
            tls, plain = port_of(facts["tls_url"]), port_of(facts["url"])
            assert get(tls, "/ping", ca=tmp_path / "ca.pem") == 200
            assert get(plain, "/ping") == 200

            other = Authority()
            other.issue("node").write(tmp_path, "node")
            (tmp_path / "other.pem").write_text(other.certificate)
            process.send_signal(signal.SIGHUP)
            give_up = time.monotonic() + 5
            while True:
                try:
                    assert get(tls, "/ping", ca=tmp_path / "other.pem") == 200
                    break
                except ssl.SSLError:
                    assert time.monotonic() < give_up
                    time.sleep(0.05)
        finally:
            process.terminate()


def test_a_certificate_that_cannot_be_read_is_named(
    tmp_path: Path, authority: Authority
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(tls_settings(tmp_path, authority))
    (tmp_path / "node.key").write_text("no key")
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "run", "--settings", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=15,
    )

    assert done.returncode == 2
    assert f"server.tls: {tmp_path / 'node.crt'}" in done.stderr


def test_given_keys_open_the_current_one_and_the_former(
    tmp_path: Path, agent_factory: Agents
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"guest": [GIVEN, FORMER]}))
    agent = agent_factory(settings=f'keys_file = "{keys}"\n{LEVEL}')
    port = port_of(agent.url)
    wrong = GIVEN.replace("a", "c")

    asked = [get(port, "/api/v1/namespaces", key=k) for k in (GIVEN, FORMER, wrong)]

    assert agent.key == GIVEN
    assert asked == [200, 200, 401]


def test_upstreams_public_key_is_refused_beyond_the_loopback() -> None:
    everywhere = Server(host="::")

    check_keys(Server(), [PUBLIC])
    check_keys(everywhere, [GIVEN])
    check_keys(Server(host="::", allow_public_key=True), [PUBLIC])
    with pytest.raises(SettingsError, match="public key"):
        check_keys(everywhere, [PUBLIC])


@pytest.mark.blocks_loop("a process of its own")
def test_sockets_of_systemd_are_served_and_readiness_and_life_are_told(
    tmp_path: Path,
) -> None:
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    said.bind(str(tmp_path / "notify"))
    said.settimeout(10)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    file = tmp_path / "settings.toml"
    file.write_text(LEVEL)
    # As systemd does: the socket is descriptor 3, the variables name the process.
    start = (
        f"import os; os.dup2({listening.fileno()}, 3);"
        " os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        " import sys; sys.argv = ['edge-agent', *sys.argv[1:]];"
        " from edge_agent.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", start, "run", "--settings", str(file)]
    command += ["--port", str(port), "--data", str(tmp_path / "d")]
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    with subprocess.Popen(
        command,
        pass_fds=[listening.fileno(), 3] if listening.fileno() != 3 else [3],
        env={**os.environ, **environ},
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            words = {said.recv(100).decode() for _ in range(3)}
            served = get(port, "/ping")
        finally:
            process.terminate()
    listening.close()
    while process.returncode == 0 and "STOPPING=1" not in words:
        words.add(said.recv(100).decode())
    said.close()

    assert words == {"READY=1", "WATCHDOG=1", "STOPPING=1"}
    assert served == 200
