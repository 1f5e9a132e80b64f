"""GPIO on a real node with mock pins: a button, a rule, an action, a lamp."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.edge_agent.events.test_alarms_node import OWN, call, prepare, wait_until

if TYPE_CHECKING:
    from tests.conftest import Agent, AgentFactory

pytest.importorskip("gpiozero", reason="pip install 'edgewhisk[gpio]'")

SETTINGS = '[gpio]\npin_factory = "mock"\n[sandbox]\nminimum_level = "rlimits"\n'
SYSTEM = "/api/v1/namespaces/whisk.system/actions"


def invoke(agent: Agent, name: str, **arguments: Any) -> Any:
    path = f"{SYSTEM}/{name}?blocking=true"
    return call(agent, "POST", path, arguments)[1]["response"]["result"]


def watch(agent: Agent, event: str, **arguments: Any) -> Any:
    life = {"lifecycleEvent": event, "triggerName": "/_/t", "authKey": agent.key}
    return invoke(agent, "gpio/watch", **life, **arguments)


def health(agent: Agent) -> Any:
    system = replace(agent, key=agent.system_key)
    return call(system, "GET", "/edge/v1/node")[1]


def test_a_button_lights_a_lamp_by_trigger_and_rule_alone(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    call(agent, "PUT", f"{OWN}/triggers/t", {})
    lamp = {
        "binding": {"namespace": "whisk.system", "name": "gpio"},
        "parameters": [{"key": "output", "value": {"device": "led", "pin": 27}}],
    }
    rule = {"trigger": "/_/t", "action": "/_/lamp/write"}
    assert call(agent, "PUT", f"{OWN}/packages/lamp", lamp)[0] == 200
    assert call(agent, "PUT", f"{OWN}/rules/r", rule)[0] == 200
    watch(agent, "CREATE", pin=17)
    for level in (0, 1, 0):  # a button pulls its pin down
        invoke(agent, "gpio/mock", pin=17, level=level)
        lit = 1 - level
        wait_until(lambda: invoke(agent, "gpio/mock", pin=27)["level"] == lit)  # noqa: B023 at once
    report = health(agent)
    assert report["gpio"]["pins"] == {
        "GPIO17": "trigger /guest/t (button)",
        "GPIO27": "action write of guest (led)",
    }
    assert report["sensors"]["memory"]["total_bytes"] > 0
    assert report["clock"]["synced"] is True
    assert agent.stop() == 0


def test_an_edge_reaches_its_action_quickly(agent_factory: AgentFactory) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    watch(agent, "CREATE", pin=17)
    invoke(agent, "gpio/mock", pin=17, level=[0, 1] * 10, every_ms=10)
    wait_until(lambda: len(call(agent, "GET", f"{OWN}/activations?name=echo")[1]) == 20)
    path = f"{OWN}/activations?name=echo&docs=true&limit=20"
    results = [one["response"]["result"] for one in call(agent, "GET", path)[1]]

    assert {one["event"] for one in results} == {"pressed", "released"}
    assert watch(agent, "READ")["status"]["state"] == "watching"


def test_the_sensors_of_a_node_are_an_action_too(agent_factory: AgentFactory) -> None:
    agent = agent_factory(settings=SETTINGS)
    sensors = invoke(agent, "node/sensors")

    assert sensors["disk"]["free_bytes"] > 0
    assert sensors["clock"]["synced"] is True
