"""The whole way on a real node: message, trigger, rule, action, result topic."""

from __future__ import annotations

import asyncio
import base64
import urllib.request
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from tests.conftest import Agent, AgentFactory, Broker
    from tests.edge_agent.events.conftest import Ground, Outsider

pytestmark = [pytest.mark.broker, pytest.mark.sandbox]

CODE = "def main(args):\n    return {'n': args['payload']['n']}\n"
FEED = "/api/v1/namespaces/whisk.system/actions/mqtt/subscribe"
OWN = "/api/v1/namespaces/_"


def call(agent: Agent, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        agent.url + path, method=method, data=msgspec.json.encode(body)
    )
    key = base64.b64encode(agent.key.encode()).decode()
    request.add_header("Authorization", f"Basic {key}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return msgspec.json.decode(answer.read())


def subscribe(agent: Agent, topic: str) -> None:
    """Action, trigger, rule and feed, as wsk makes them."""
    action = {"exec": {"kind": "python:default", "code": CODE}}
    feed = {"key": "feed", "value": "/whisk.system/mqtt/subscribe"}
    results = {"key": "mqtt-result-topic", "value": "out/{action}"}
    rule = {"trigger": "/_/t", "action": "/_/echo", "annotations": [results]}
    call(agent, "PUT", f"{OWN}/actions/echo", action)
    call(agent, "PUT", f"{OWN}/triggers/t", {"annotations": [feed]})
    call(agent, "PUT", f"{OWN}/rules/r", rule)
    life = {"lifecycleEvent": "CREATE", "triggerName": "/_/t", "authKey": agent.key}
    call(agent, "POST", f"{FEED}?blocking=true", {**life, "topic": topic})


def numbers(outsider: Outsider) -> set[int]:
    return {msgspec.json.decode(payload)["n"] for _, payload in outsider.heard}


async def test_every_message_has_a_result_though_the_node_is_killed(
    agent_factory: AgentFactory, broker: Broker, ground: Ground
) -> None:
    settings = (
        f'[mqtt]\nbroker = "{broker.address}"\nbackoff_s = 0.1\n'
        '[sandbox]\nminimum_level = "rlimits"\n'
    )
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    await asyncio.to_thread(subscribe, agent, "in/#")
    outsider = ground.outsider(broker.address)
    await outsider.listen("out/echo")
    await asyncio.to_thread(outsider.publish, "in/first", {"n": -1})
    await ground.until(lambda: -1 in numbers(outsider), timeout_s=10)

    def flood() -> None:
        for number in range(400):
            outsider.publish(f"in/{number % 7}", {"n": number})

    sending = asyncio.create_task(asyncio.to_thread(flood))
    await ground.until(lambda: len(outsider.heard) > 100, timeout_s=10)
    agent.kill()
    agent = await asyncio.to_thread(agent_factory, settings=settings, data=agent.data)
    await sending

    await ground.until(lambda: len(numbers(outsider)) == 401, timeout_s=15)
