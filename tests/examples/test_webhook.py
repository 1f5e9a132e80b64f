"""The feed of the user's own: from a webhook to a rule, on a real agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from controller.fleet.client import Client
from controller.fleet.feeds import FeedError, call_feed, create_feed_trigger
from controller.fleet.target import Target
from controller.fleet.wire import ActionBody, RuleBody
from edge_agent.model.entities import Exec, KeyValue

if TYPE_CHECKING:
    from tests.conftest import Agent

pytestmark = pytest.mark.sandbox

EXAMPLES = Path(__file__).parents[2] / "examples" / "webhook"
KEEP = "def main(args):\n    return {'said': args['text'], 'by': args['user']}\n"


@pytest.fixture
async def client(agent: Agent) -> Any:
    async with Client(Target(url=agent.url, key=agent.key)) as client:
        await client.put_package("chat")
        feed = [KeyValue(key="feed", value=True)]
        await put(client, "chat/feed", (EXAMPLES / "feed.py").read_text(), feed)
        web = [
            KeyValue(key="web-export", value=True),
            KeyValue(key="provide-api-key", value=True),
        ]
        await put(client, "chat/hook", (EXAMPLES / "hook.py").read_text(), web)
        await put(client, "keep", KEEP, [])
        yield client


async def put(
    client: Client, name: str, code: str, annotations: list[KeyValue]
) -> None:
    body = ActionBody(
        exec=Exec(kind="python:default", code=code), annotations=annotations
    )
    await client.put_action(name, body)


async def say(agent: Agent, channel: str) -> Any:
    url = f"{agent.url}/api/v1/web/guest/chat/hook.json"
    message = {"channel": channel, "user": "ann", "text": "hello"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=message) as answer,
    ):
        return await answer.json()


async def test_a_message_of_the_chat_fires_those_who_listen_to_its_channel(
    agent: Agent, client: Client
) -> None:
    await create_feed_trigger(client, "said", "chat/feed", {"channel": "general"})
    await client.put_rule("r", RuleBody(trigger="/_/said", action="/_/keep"))

    assert await say(agent, "general") == {"fired": ["said"]}
    assert await say(agent, "other") == {"fired": []}

    async with asyncio.timeout(10):
        while not (found := await client.list_activations(name="keep")):
            await asyncio.sleep(0.05)
    record = await client.get_activation(found[0].activation_id)
    assert bytes(record.response.result) == b'{"said":"hello","by":"ann"}'


async def test_a_trigger_that_is_paused_or_deleted_hears_no_more(
    agent: Agent, client: Client
) -> None:
    await create_feed_trigger(client, "said", "chat/feed", {"channel": "general"})
    for event, fired in (("PAUSE", []), ("UNPAUSE", ["said"]), ("DELETE", [])):
        await call_feed(client, "chat/feed", event, "said")
        assert await say(agent, "general") == {"fired": fired}

    with pytest.raises(FeedError, match="listens to no channel"):
        await call_feed(client, "chat/feed", "READ", "said")
