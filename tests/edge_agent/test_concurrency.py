"""C49 over HTTP: actions that ask for several activations at once in a sandbox."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from tests.conftest import Agent, AgentFactory

SETTINGS = """
[sandbox]
minimum_level = "rlimits"
[pool]
memory_mb = 256
[limits]
concurrency = {least = 1, standard = 1, greatest = 50}
"""
PYTHON = """
import asyncio
async def main(args):
    print('hello', args['n'])
    await asyncio.sleep(0.3)
    return {'n': args['n']}
"""
NODE = """
async function main (args) {
  console.log('hello', args.n)
  await new Promise(resolve => setTimeout(resolve, 300))
  return { n: args.n }
}
"""
pytestmark = pytest.mark.sandbox


class Whisk:
    """The API of one agent."""

    def __init__(self, agent: Agent, session: aiohttp.ClientSession) -> None:
        self._base = f"{agent.url}/api/v1/namespaces/_"
        key = aiohttp.encode_basic_auth(*agent.key.split(":"))
        self._headers = {"Authorization": key}
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        url = self._base + path
        asking = self._session.request(method, url, json=body, headers=self._headers)
        async with asking as answer:
            return await answer.json()

    async def put(self, name: str, kind: str, code: str, at_once: int) -> Any:
        body = {
            "exec": {"kind": kind, "code": code},
            "limits": {"concurrency": at_once},
        }
        return await self.ask("PUT", f"/actions/{name}?overwrite=true", body)

    async def invoke(self, name: str, **arguments: Any) -> Any:
        path = f"/actions/{name}?blocking=true"
        return await self.ask("POST", path, arguments)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("python:default", PYTHON),
        pytest.param("nodejs:default", NODE, marks=pytest.mark.node),
    ],
)
async def test_c49_twenty_at_once_share_one_sandbox(
    agent_factory: AgentFactory, kind: str, code: str
) -> None:
    agent = agent_factory(settings=SETTINGS)
    async with aiohttp.ClientSession() as session:
        whisk = Whisk(agent, session)
        await whisk.put("many", kind, code, 20)
        await whisk.invoke("many", n=0)
        begun = time.monotonic()
        records = await asyncio.gather(*(whisk.invoke("many", n=n) for n in range(20)))
        took_s = time.monotonic() - begun

        assert [r["response"]["result"] for r in records] == [
            {"n": n} for n in range(20)
        ]
        assert took_s < 3  # one after the other it is 6
        logs = await asyncio.gather(*(_logs(whisk, r["activationId"]) for r in records))
        assert [text.rpartition(": ")[2] for (text,) in logs] == [
            f"hello {n}" for n in range(20)
        ]


async def _logs(whisk: Whisk, activation_id: str) -> Any:
    for _ in range(50):
        record = await whisk.ask("GET", f"/activations/{activation_id}")
        if record.get("logs"):
            break
        await asyncio.sleep(0.05)
    return record["logs"]


async def test_a49_a61a_the_greatest_is_a_setting(
    agent_factory: AgentFactory, agent: Agent
) -> None:
    raised = agent_factory(settings=SETTINGS)
    async with aiohttp.ClientSession() as session:
        for node, most in ((raised, 50), (agent, 1)):
            whisk = Whisk(node, session)
            limits = await whisk.ask("GET", "/limits")
            assert limits["maxActionConcurrency"] == most
            refused = await whisk.put("a", "python:default", PYTHON, most + 1)
            assert refused["error"] == (
                f"requirement failed: concurrency {most + 1} exceeds "
                f"allowed threshold of {most}"
            )
