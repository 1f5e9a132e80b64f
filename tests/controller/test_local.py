"""A fleet on this machine: real agents, a real broker."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from controller import local_broker
from controller.fleet.local_state import LocalState, write_state
from controller.fleet.process import Process, birth
from controller.local import LocalError, LocalFleet, UnknownPart
from controller.local_node import node_settings

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalFleet]:
    fleet = LocalFleet(tmp_path / "local")
    yield fleet
    fleet.down()


def pids(state: LocalState) -> list[int]:
    parts: list[Any] = [*state.nodes, *([state.broker] if state.broker else [])]
    return [part.process.pid for part in parts if part.process is not None]


def answers(url: str) -> bool:
    with urlopen(f"{url}/ping", timeout=5) as answer:
        return bool(answer.status == 200)


@pytest.mark.broker
def test_a_fleet_goes_up_and_down_and_leaves_no_process(local: LocalFleet) -> None:
    up = local.up(2)
    assert up.changed
    assert all(answers(node.url) for node in up.state.nodes)
    assert up.state.broker is not None
    assert local_broker.accepts(up.state.broker.port)
    assert (local.directory / "fleet.json").stat().st_mode & 0o077 == 0
    started = pids(up.state)
    assert len(started) == 3

    again = local.up()
    assert (again.changed, pids(again.state)) == (False, started)

    down = local.down()
    assert not any(node.runs for node in down.nodes)
    assert [birth(pid) for pid in started] == [None, None, None]
    assert local.down() == down


def test_a_node_comes_back_on_its_port_with_its_data(local: LocalFleet) -> None:
    before = local.up(1, broker=False).state.nodes[0]
    assert not local.stop("node1").nodes[0].runs
    assert Path(before.data).exists()
    after = local.start("node1").nodes[0]
    assert (after.url, after.key) == (before.url, before.key)
    assert answers(after.url)
    assert local.start("node1").nodes[0].process == after.process


def test_more_nodes_join_those_that_are_up(local: LocalFleet) -> None:
    first = local.up(1, broker=False).state.nodes[0]
    nodes = local.up(2, broker=False).state.nodes
    assert [node.name for node in nodes] == ["node1", "node2"]
    assert nodes[0] == first


def test_a_killed_node_is_down_and_comes_up_again(local: LocalFleet) -> None:
    node = local.up(1, broker=False).state.nodes[0]
    assert node.process is not None
    node.process.send(signal.SIGKILL)
    while node.runs:
        time.sleep(0.01)
    assert not local.status().nodes[0].runs
    again = local.up(broker=False).state.nodes[0]
    assert (again.url, again.key) == (node.url, node.key)


def test_a_stale_state_kills_nobody(local: LocalFleet, tmp_path: Path) -> None:
    node = local.up(1, broker=False).state.nodes[0]
    real = node.process
    # As after a reboot: the same id, somebody else's (ours, so it must survive).
    stolen = Process(os.getpid(), "another boot/1")
    state = local.status()
    import msgspec

    changed = msgspec.structs.replace(state.nodes[0], process=stolen)
    write_state(local.directory, LocalState(nodes=[changed]))
    assert not local.down().nodes[0].runs
    assert real is not None
    assert real.alive
    changed = msgspec.structs.replace(changed, process=real)
    write_state(local.directory, LocalState(nodes=[changed]))


def test_a_node_that_cannot_start_says_why_and_leaves_nothing(
    local: LocalFleet,
) -> None:
    node = local.up(1, broker=False).state.nodes[0]
    local.stop("node1")
    data = Path(node.data)
    for file in data.glob("*.db*"):
        file.unlink()
    (data / "state.db").mkdir(exist_ok=True)
    with pytest.raises(LocalError, match=r"node1 did not start: .*agent\.log"):
        local.start("node1")
    assert not local.status().nodes[0].runs


def test_a_name_that_is_not_there_is_said_with_those_that_are(
    local: LocalFleet,
) -> None:
    local.up(1, broker=False)
    with pytest.raises(UnknownPart, match="no 'node9' in this fleet; it has: node1"):
        local.stop("node9")


def test_wipe_deletes_what_it_made_and_nothing_else(local: LocalFleet) -> None:
    local.up(1, broker=False)
    (local.directory / "mine.txt").write_text("mine")
    local.down(wipe=True)
    assert {p.name for p in local.directory.iterdir()} == {"mine.txt", "lock"}


def test_without_a_broker_program_it_says_what_to_do(
    local: LocalFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_broker, "broker_command", lambda *_: None)
    with pytest.raises(LocalError, match="apt-get install mosquitto"):
        local.up(1)


@pytest.mark.broker
def test_the_broker_is_stopped_and_started_by_itself(local: LocalFleet) -> None:
    broker = local.up(1).state.broker
    assert broker is not None
    local.stop("broker")
    assert local_broker.is_free(broker.port)
    local.start("broker")
    assert local_broker.accepts(broker.port)


def test_amqtt_serves_where_there_is_no_mosquitto(
    local: LocalFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("amqtt")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    broker = local.up(1).state.broker
    assert broker is not None
    assert broker.program == "amqtt"
    assert local_broker.accepts(broker.port)


def test_mosquitto_drops_nothing_and_does_not_wait_for_nagle(tmp_path: Path) -> None:
    lines = local_broker.mosquitto_configuration(tmp_path, 1884).splitlines()
    assert "listener 1884 127.0.0.1" in lines
    assert {"max_queued_messages 0", "persistence true"} <= set(lines)
    assert "set_tcp_nodelay true" in lines
    assert any(line.startswith("max_queued_bytes ") for line in lines)


def test_a_nodes_settings_are_settings() -> None:
    from edge_agent.settings import parse_settings

    text = node_settings('a "b"', level="rlimits", broker=1884, records=9)
    settings = parse_settings(tomllib.loads(text), source="test")
    assert settings.node == 'a "b"'
    assert settings.mqtt.broker == "127.0.0.1:1884"
    assert settings.sandbox.minimum_level == "rlimits"
    assert settings.store.records == 9


@pytest.mark.broker
@pytest.mark.parametrize("after_s", [0.4, 0.7, 1.0])
def test_ctrl_c_while_it_starts_leaves_no_process(
    tmp_path: Path, after_s: float
) -> None:
    directory = tmp_path / "local"
    command = [sys.executable, "-m", "controller", "local", "up"]
    up = subprocess.Popen(
        [*command, "--dir", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(after_s)
    up.send_signal(signal.SIGINT)
    said, _ = up.communicate(timeout=60)
    fleet = LocalFleet(directory)
    if up.returncode == 0:  # it was quicker
        fleet.down()
    else:
        assert up.returncode in {130, -signal.SIGINT}, said
    assert not any(node.runs for node in fleet.status().nodes)
    assert not (broker := fleet.status().broker) or not broker.runs


@pytest.mark.timeout(60)
def test_with_tls_the_nodes_speak_https_that_the_fleets_authority_vouches_for(
    tmp_path: Path,
) -> None:
    fleet = LocalFleet(tmp_path / "tls")
    try:
        state = fleet.up(1, broker=False, tls=True).state
        (node,) = state.nodes
        context = ssl.create_default_context(cafile=state.ca)
        with urlopen(f"{node.tls_url}/ping", context=context) as answer:
            assert answer.read() == b"pong"
    finally:
        fleet.down(wipe=True)
    assert not (tmp_path / "tls" / "pki").exists()
