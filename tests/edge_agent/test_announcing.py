"""Activations told to a topic, by a real node to a real broker."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from typing import Any

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.timeout(40)]


def call(agent: Any, method: str, path: str, body: Any, *, system: bool = False) -> Any:
    request = urllib.request.Request(
        agent.url + path, None if body is None else json.dumps(body).encode()
    )
    request.method = method
    key = base64.b64encode((agent.system_key if system else agent.key).encode())
    request.add_header("Authorization", f"Basic {key.decode()}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def settings(broker: str) -> str:
    return (
        'node = "attic"\n[sandbox]\nminimum_level = "rlimits"\n'
        f'[mqtt]\nbroker = "{broker}"\n'
        'activations_topic = "edge/{node}/activations/{namespace}/{action}"\n'
    )


def work(agent: Any, runs: int) -> set[str]:
    code = {"kind": "python:default", "code": "def main(args):\n    return args\n"}
    own = "/api/v1/namespaces/_/actions/a"
    call(agent, "PUT", f"{own}?overwrite=true", {"exec": code})
    ended = [call(agent, "POST", f"{own}?blocking=true", {}) for _ in range(runs)]
    return {one["activationId"] for one in ended}


def test_ended_activations_come_to_the_topic(agent_factory: Any, broker: Any) -> None:
    agent = agent_factory(settings=settings(broker.address))
    command = ["mosquitto_sub", "-p", str(broker.port), "-t", "edge/#", "-v", "-C", "3"]
    with subprocess.Popen(
        [*command, "-W", "20"], stdout=subprocess.PIPE, text=True
    ) as hearing:
        work(agent, 1)  # until now it may not hear yet
        heard = hearing.stdout
        assert heard is not None
        while hearing.poll() is None and work(agent, 1):
            pass
        lines = heard.read().splitlines()

    assert len(lines) == 3
    for line in lines:
        topic, _, event = line.partition(" ")
        assert topic == "edge/attic/activations/guest/a"
        assert json.loads(event)["body"]["name"] == "guest/a"


def test_a_broker_that_is_away_costs_nobody_anything(
    agent_factory: Any, broker: Any
) -> None:
    broker.stop()
    agent = agent_factory(settings=settings(broker.address))

    assert len(work(agent, 20)) == 20
    told = call(agent, "GET", "/edge/v1/node", None, system=True)["activations_told"]
    assert told == {"told": 0, "failed": 0, "dropped": 0}
    assert agent.stop() == 0
