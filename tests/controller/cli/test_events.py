"""From messages to actions: `on mqtt`, feeds and the bridge, with a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.demo_answers import connected
from controller.local import LocalFleet

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]

ECHO = "def main(p):\n    return {'seq': p['payload']['seq'], 'from': p['topic']}\n"
Edgectl = Callable[..., Any]


@pytest.fixture
def port(home: Path) -> Iterator[int]:
    """Of the broker; two nodes with the action `echo` are found by themselves."""
    fleet = LocalFleet(home / ".local/share/edgewhisk/local")
    broker = fleet.up(2).state.broker
    assert broker is not None
    yield broker.port
    fleet.down()


@pytest.fixture
def echo(edgectl: Edgectl, tmp_path: Path, port: int) -> None:
    file = tmp_path / "echo.py"
    file.write_text(ECHO)
    assert edgectl("action", "put", "echo", file).code == 0


def records(edgectl: Edgectl, count: int) -> list[dict[str, Any]]:
    for _ in range(100):
        listed: list[dict[str, Any]] = edgectl(
            "activation", "list", "--name", "echo", "--json"
        ).json
        if len(listed) >= count:
            return listed
        time.sleep(0.05)
    raise AssertionError(f"only {len(listed)} of {count}")


@pytest.mark.usefixtures("echo")
def test_on_mqtt_runs_the_action_and_publishes_its_result(
    edgectl: Edgectl, port: int
) -> None:
    said = edgectl(
        "on", "mqtt", "sensors/+/temp", "echo", "--result-topic", "out", "--json"
    )
    assert said.code == 0, said
    assert said.err == "ok: messages on sensors/+/temp run echo on node1\n"
    assert said.json == {
        "node": "node1",
        "trigger": "sensors-any-temp-echo",
        "rule": "sensors-any-temp-echo-rule",
    }
    came: list[bytes] = []
    arrived = threading.Event()

    def on_message(body: bytes) -> None:
        came.append(body)
        arrived.set()

    with connected("127.0.0.1", port, topic="out", on_message=on_message) as client:
        client.publish("sensors/kitchen/temp", '{"seq": 7}', qos=1)
        assert arrived.wait(10)
    assert json.loads(came[0]) == {"seq": 7, "from": "sensors/kitchen/temp"}

    shown = edgectl("trigger", "get", "sensors-any-temp-echo").json
    assert shown["feed"]
    assert edgectl("trigger", "list").out.split("\t")[1] == (
        "/whisk.system/mqtt/subscribe"
    )
    assert edgectl("rule", "delete", "sensors-any-temp-echo-rule").code == 0
    assert edgectl("trigger", "delete", "sensors-any-temp-echo").code == 0
    assert edgectl("trigger", "list", "--json").json == []


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["on", "mqtt", "a/#/b", "echo"], 1),
        (["on", "mqtt", "a/b", "nothing"], 1),
        (["on", "mqtt", "a/b", "echo", "-p", "qos", "7"], 1),
        (["on", "mqtt", "a/b", "echo", "--result-topic", "x/#"], 2),
        (["trigger", "create", "t", "--feed", "/whisk.system/no/feed"], 1),
        (["trigger", "create", "t", "--feed", "/whisk.system/mqtt/subscribe"], 1),
    ],
)
def test_what_fails_half_way_is_undone(
    edgectl: Edgectl, arguments: list[str], code: int
) -> None:
    said = edgectl(*arguments)
    assert said.code == code, said
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert edgectl("trigger", "list", "--json").json == []
    assert edgectl("rule", "list", "--json").json == []


@pytest.mark.usefixtures("echo")
def test_the_bridge_spreads_messages_until_sigterm(
    edgectl: Edgectl, port: int, tmp_path: Path
) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        f"broker: 127.0.0.1:{port}\nentries:\n  - {{topic: a/+, action: echo}}\n"
    )
    assert edgectl("bridge", "check", "--map", mapping).code == 0
    command = [sys.executable, "-m", "controller", "bridge", "run", "--print-json"]
    bridge = subprocess.Popen(
        [*command, "--map", str(mapping)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert bridge.stdout is not None
        ready = json.loads(bridge.stdout.readline())
        assert ready["connected"] is True
        with connected("127.0.0.1", port) as client:
            for seq in range(20):
                client.publish(f"a/{seq}", json.dumps({"seq": seq}), qos=1)
            listed = records(edgectl, 20)
    finally:
        bridge.send_signal(signal.SIGTERM)
        _, rest = bridge.communicate(timeout=20)
    assert bridge.returncode == 0, rest
    assert {item["node"] for item in listed} == {"node1", "node2"}


def test_a_wrong_map_is_a_line_for_each_problem(
    edgectl: Edgectl, tmp_path: Path
) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text("brokr: x\nentries: [{topic: a}, {topic: 'a/#/b', action: b}]\n")
    said = edgectl("bridge", "check", "--map", mapping)
    assert said.code == 2
    lines = said.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    run = edgectl(
        "bridge", "run", "--map", mapping, "--target", "http://h", "--auth", "u:k"
    )
    assert run.code == 2
    assert run.err.splitlines() == lines
