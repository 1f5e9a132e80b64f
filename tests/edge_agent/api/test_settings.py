"""`/edge/v1/settings`: what is changed at run time counts at once and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from edge_agent.engine.overrides import KEYS
from edge_agent.model.limits import Bounds, SystemLimits
from edge_agent.settings import Pool, Settings

PATH = "/edge/v1/settings"
LENGTH = "limits.sequence_length"


async def change(server: Any, method: str, body: object = None) -> Any:
    return await server(method, PATH, body, identity=server.system)


async def test_every_setting_is_shown_with_its_origin(
    serving: Callable[..., Any],
) -> None:
    async with serving(Settings(pool=Pool(memory_mb=777))) as server:
        shown = (await change(server, "GET")).body
        assert set(shown) == set(KEYS)
        assert shown["pool.memory_mb"] == {"value": 777, "origin": "file"}
        assert shown[LENGTH] == {"value": 50, "origin": "default"}
        await change(server, "PATCH", {LENGTH: 100})
        shown = (await change(server, "GET")).body
        assert shown[LENGTH] == {"value": 100, "origin": "override", "otherwise": 50}


async def test_only_the_nodes_own_key_may(server: Any) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await server(method, PATH, {} if method != "GET" else None)
        assert answer.status == 403, method
    assert (await server("GET", PATH, auth="")).status == 401


async def test_put_replaces_patch_adds_null_takes_back(server: Any) -> None:
    await change(server, "PUT", {LENGTH: 60, "pool.memory_mb": 900})
    body = (await change(server, "PATCH", {LENGTH: None})).body
    assert body[LENGTH]["origin"] == "default"
    assert body["pool.memory_mb"]["origin"] == "override"
    body = (await change(server, "PUT", {LENGTH: 70})).body
    assert body["pool.memory_mb"]["origin"] != "override"
    body = (await change(server, "DELETE")).body
    assert not [key for key, shown in body.items() if shown["origin"] == "override"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"pool.colour": 1}, "pool.colour: is no setting that can be changed"),
        ({LENGTH: 0}, "limits.sequence_length: Expected `int` >= 1"),
        ({LENGTH: "many"}, "limits.sequence_length: Expected `int`, got `str`"),
        ({LENGTH: True}, "limits.sequence_length: Expected `int`, got `bool`"),
        ({LENGTH: {"a": 1}}, "limits.sequence_length: Expected `int`, got `object`"),
        ({"pool.memory_mb": -1}, "pool.memory_mb: Expected `int` >= 1"),
        ({"limits.memory_mb.greatest": 5}, "limits.memory_mb: expected 0 <= least"),
        ({"limits.code_bytes": 1 << 40}, "limits.code_bytes: Expected at most"),
        ({"limits.code_bytes": 1 << 29}, "limits.code_bytes: Expected at most 524288"),
        ({"pool.memory_mb": 10**20}, "pool.memory_mb: Expected at most 1048576"),
        ({LENGTH: 1001}, "limits.sequence_length: Expected at most 1000"),
        ([1], "JSON object expected"),
    ],
)
async def test_a_wrong_value_is_named_and_changes_nothing(
    server: Any, body: object, text: str
) -> None:
    before = (await change(server, "GET")).body
    answer = await change(server, "PATCH", body)
    assert answer.status == 400
    assert text in answer.error
    assert (await change(server, "GET")).body == before


async def test_overrides_stay_across_restarts(serving: Callable[..., Any]) -> None:
    async with serving(Settings()) as server:
        await change(server, "PUT", {LENGTH: 100})
    async with serving(Settings()) as server:
        shown = (await change(server, "GET")).body
        assert shown[LENGTH]["value"] == 100
        assert (await server("GET", "/")).body["limits"]["sequence_length"] == 100


async def test_overrides_that_the_file_no_longer_bears_are_left_out(
    serving: Callable[..., Any],
) -> None:
    bounds = Bounds(least=128, standard=512, greatest=1024)
    async with serving(Settings()) as server:
        await change(server, "PUT", {LENGTH: 100, "limits.memory_mb.greatest": 256})
        unknown = {**server.services.store.overrides.settings, "pool.colour": 1}
        await server.services.store.overrides.set_settings(unknown)
    async with serving(Settings(limits=SystemLimits(memory_mb=bounds))) as server:
        shown = (await change(server, "GET")).body
        assert shown[LENGTH]["origin"] == "override"
        assert shown["limits.memory_mb.greatest"] == {"value": 1024, "origin": "file"}


async def test_d19_a_chain_of_100_steps_is_possible(server: Any) -> None:
    await server.put_action()
    chain = {"exec": {"kind": "sequence", "components": ["/_/a"] * 100}}
    assert (await server("PUT", "actions/chain", chain)).status == 400
    await change(server, "PATCH", {LENGTH: 100})
    assert (await server("PUT", "actions/chain", chain)).status == 200
    server.factory.run_s = 0
    answer = await server.invoke("chain", body={"n": 1})
    assert answer.status == 200
    record = await server.record(answer.body["activationId"])
    assert len(record["logs"]) == 100


async def test_other_limits_count_at_once(server: Any) -> None:
    changes = {
        "limits.timeout_ms.greatest": 600_000,
        "limits.memory_mb.greatest": 1024,
        "limits.payload_bytes": 2 << 20,
        "limits.code_bytes": 100,
    }
    assert (await change(server, "PATCH", changes)).status == 200
    limits = {"timeout": 600_000, "memory": 1024}
    await server.put_action(limits=limits)
    assert (await server("GET", "limits")).body["maxActionTimeout"] == 600_000
    text = "x" * (3 << 19)
    answer = await server.invoke(query="&result=true", body={"text": text})
    assert answer.status == 200
    code = {"exec": {"kind": "python:3.11", "code": "#" * 101}}
    assert (await server("PUT", "actions/b", code)).status == 413


async def test_changes_at_the_same_time_are_all_kept(server: Any) -> None:
    keys = [key for key in KEYS if key.endswith("per_minute")] + ["pool.memory_mb"]
    await asyncio.gather(*(change(server, "PATCH", {key: 1000}) for key in keys))
    shown = (await change(server, "GET")).body
    assert [shown[key]["value"] for key in keys] == [1000] * len(keys)


SLEEPER = "import time\ndef main(args):\n    time.sleep(1)\n    return args\n"


async def test_the_pool_of_a_node_at_work_shrinks_without_killing_what_runs(
    agent: Any,
) -> None:
    base = f"{agent.url}/api/v1/namespaces/_"
    async with (
        _session(agent.key) as guest,
        _session(agent.system_key) as admin,
        asyncio.timeout(15),
    ):

        async def pool() -> Any:
            async with admin.get(f"{agent.url}/edge/v1/node") as answer:
                return (await answer.json())["pool"]

        async def resize(memory_mb: int) -> Any:
            change = {"pool.memory_mb": memory_mb}
            async with admin.patch(agent.url + PATH, json=change) as answer:
                assert answer.status == 200, await answer.text()
            return await pool()

        async def invoke() -> int:
            url = f"{base}/actions/sleeper?blocking=true"
            async with guest.post(url, json={}) as answer:
                return answer.status

        exec_ = {"kind": "python:default", "code": SLEEPER}
        async with guest.put(f"{base}/actions/sleeper", json={"exec": exec_}) as put:
            assert put.status == 200
        await resize(768)
        calls = [asyncio.ensure_future(invoke()) for _ in range(3)]
        while (await pool())["running"] < 3:
            await asyncio.sleep(0.02)
        shrunk = await resize(256)
        assert (shrunk["slots"], shrunk["running"], shrunk["used_mb"]) == (1, 3, 768)
        assert await asyncio.gather(*calls) == [200] * 3
        while (await pool())["used_mb"] > 256:
            await asyncio.sleep(0.02)
        assert (await resize(1024))["slots"] == 4


def _session(key: str) -> aiohttp.ClientSession:
    authorization = aiohttp.encode_basic_auth(*key.split(":", 1))
    return aiohttp.ClientSession(headers={"Authorization": authorization})
