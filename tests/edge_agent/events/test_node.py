"""The whole way on a real node: message, trigger, rule, action, result topic."""

from __future__ import annotations

import asyncio
import base64
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

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


async def test_messages_beyond_a_throttle_wait_at_the_broker_and_none_is_lost(
    agent_factory: AgentFactory, broker: Broker, ground: Ground
) -> None:
    settings = (
        f'[mqtt]\nbroker = "{broker.address}"\nbackoff_s = 0.05\n'
        "backoff_most_s = 0.2\n[limits]\nconcurrent_invocations = 2\n"
        '[sandbox]\nminimum_level = "rlimits"\n'
    )
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    await asyncio.to_thread(subscribe, agent, "in/#")
    outsider = ground.outsider(broker.address)
    await outsider.listen("out/echo")

    def flood() -> None:
        for number in range(30):
            outsider.publish(f"in/{number % 3}", {"n": number})

    await asyncio.to_thread(flood)
    await ground.until(lambda: len(numbers(outsider)) == 30, timeout_s=15)
    assert len(outsider.heard) == 30


def ask(topic: str, number: int) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = topic
    properties.CorrelationData = number.to_bytes(2, "big")
    return properties


def answers(outsider: Outsider) -> dict[int, Any]:
    """What came to a response topic, by its correlation data."""
    pairs = zip(outsider.properties, outsider.heard, strict=True)
    return {
        int.from_bytes(properties.CorrelationData, "big"): msgspec.json.decode(payload)
        for properties, (topic, payload) in pairs
        if topic.startswith("answers/")
    }


async def test_a_request_is_answered_with_its_correlation_data(
    agent_factory: AgentFactory, broker: Broker, ground: Ground
) -> None:
    settings = (
        f'[mqtt]\nbroker = "{broker.address}"\n[sandbox]\nminimum_level = "rlimits"\n'
    )
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    await asyncio.to_thread(subscribe, agent, "in/#")
    outsider = ground.outsider(broker.address)
    await outsider.listen("answers/#")
    await outsider.listen("out/#")
    for number in (1, 2):
        properties = ask("answers/me", number)
        outsider.publish("in/a", {"n": number}, properties=properties)

    await ground.until(lambda: len(outsider.heard) == 4, timeout_s=10)

    assert answers(outsider) == {1: {"n": 1}, 2: {"n": 2}}
    assert [topic for topic, _ in outsider.heard].count("out/echo") == 2


async def test_actions_on_the_list_are_invoked_by_message(
    agent_factory: AgentFactory, broker: Broker, ground: Ground
) -> None:
    settings = (
        f'node = "attic"\n[mqtt]\nbroker = "{broker.address}"\ninvoke = ["double"]\n'
        '[sandbox]\nminimum_level = "rlimits"\n'
    )
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    code = "def main(a):\n    return {'twice': 2 * a['n']}\n"
    for name in ("double", "secret"):
        body = {"exec": {"kind": "python:default", "code": code}}
        await asyncio.to_thread(call, agent, "PUT", f"{OWN}/actions/{name}", body)
    outsider = ground.outsider(broker.address)
    await outsider.listen("answers/#")
    outsider.publish(
        "edge/attic/invoke/secret", {"n": 1}, properties=ask("answers/a", 1)
    )
    outsider.publish("edge/attic/invoke/double", "[1]", properties=ask("answers/a", 2))
    outsider.publish(
        "edge/attic/invoke/double", {"n": 3}, properties=ask("answers/a", 3)
    )

    await ground.until(lambda: outsider.heard, timeout_s=10)

    assert answers(outsider) == {3: {"twice": 6}}


async def test_a_rule_with_a_wrong_result_topic_is_refused(
    agent_factory: AgentFactory,
) -> None:
    settings = '[sandbox]\nminimum_level = "rlimits"\n'
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    action = {"exec": {"kind": "python:default", "code": "def main(a): return a"}}
    await asyncio.to_thread(call, agent, "PUT", f"{OWN}/actions/a", action)
    await asyncio.to_thread(call, agent, "PUT", f"{OWN}/triggers/t", {})
    wrong = {"key": "mqtt-result-topic", "value": "out/{actoin}"}
    rule = {"trigger": "/_/t", "action": "/_/a", "annotations": [wrong]}

    with pytest.raises(urllib.error.HTTPError) as raised:
        await asyncio.to_thread(call, agent, "PUT", f"{OWN}/rules/r", rule)

    assert raised.value.code == 400
    assert b"the fields are {action}" in raised.value.read()
