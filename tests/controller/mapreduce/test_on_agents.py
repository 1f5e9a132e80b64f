"""Runs on real agents: as they are, behind nothing but OpenWhisk's API, and slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from controller.fleet.client import Client
from controller.fleet.retry import NO_RETRY
from controller.fleet.target import Target
from controller.mapreduce import records
from controller.mapreduce.fleet_node import UNTOLD_SLOTS, FleetNode
from controller.mapreduce.job import MapAction
from controller.mapreduce.job_file import load_job
from controller.mapreduce.node import Done, Failed
from controller.mapreduce.run import run_loaded

SQUARES = """
config = {"chunks": 30}
def args_for_action(index): return {"number": index}
def action(params): return {"square": params["number"] ** 2}
def combine(results): return {"square": sum(result["square"] for result in results)}
def reduce(results): return combine(results)["square"]
"""
SLEEP = "import time\ndef main(p):\n  time.sleep(p['s'])\n  return {'slept': p['s']}"


@pytest.fixture
async def plain(targets: list[Target]) -> AsyncIterator[Target]:
    """An agent of which nothing but OpenWhisk's own API can be reached."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            if not request.path.startswith("/api/v1/"):
                return web.json_response({"error": "no", "code": "x"}, status=404)
            url = targets[0].url + request.path_qs
            headers = {"Authorization": request.headers["Authorization"]}
            if request.can_read_body:
                headers["Content-Type"] = "application/json"
            async with session.request(
                request.method, url, data=await request.read(), headers=headers
            ) as answer:
                kept = {"x-openwhisk-activation-id"} & {
                    k.lower() for k in answer.headers
                }
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type="application/json",
                    headers={name: answer.headers[name] for name in kept},
                )

        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield Target(f"http://{host}:{port}", targets[0].key, name="plain")
        await runner.cleanup()


async def test_the_same_file_runs_on_our_fleet_and_on_plain_openwhisk(
    targets: list[Target], plain: Target, tmp_path: Path
) -> None:
    path = tmp_path / "squares.py"
    await asyncio.to_thread(path.write_text, SQUARES)
    job = await asyncio.to_thread(load_job, path, settings={})
    ours = await run_loaded(job, targets, settings={}, out=tmp_path / "ours")
    theirs = await run_loaded(job, [plain], settings={}, out=tmp_path / "theirs")
    assert ours.result == theirs.result == sum(n * n for n in range(30))
    assert ours.chunks == theirs.chunks == 30
    assert theirs.nodes[0].slots == UNTOLD_SLOTS
    assert theirs.nodes[0].cpu == ()


@pytest.mark.parametrize("ours", [True, False])
async def test_a_chunk_that_outlives_the_wait_is_heard_of_by_push_or_by_asking(
    targets: list[Target], plain: Target, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So late that only a push can bring it; where there is none, at once.
    monkeypatch.setattr(records, "POLL_FIRST_S", 0.5 if ours else 0.05)
    target = targets[1] if ours else plain
    async with Client(target, retry=NO_RETRY) as client:
        node = FleetNode(client, name="a", run="r", wait_ms=100)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(node.listen())
            await node.deploy("sleeper", MapAction("python:default", SLEEP, "main"))
            outcome = await node.run("sleeper", b'{"s": 0.9}')
            assert isinstance(outcome, Done)
            assert bytes(outcome.result) == b'{"slept":0.9}'
            assert outcome.seconds >= 0.9
            failed = await node.run("sleeper", b'{"s": "long"}')
            assert isinstance(failed, Failed)
            await node.remove("sleeper")
            listening.cancel()


async def test_a_gateway_that_cuts_waits_short_is_asked_without_waiting(
    targets: list[Target],
) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        if request.query.get("blocking") == "true":
            raise web.HTTPGatewayTimeout
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                targets[0].url + request.path_qs,
                data=await request.read(),
                headers={"Authorization": request.headers["Authorization"]}
                | (
                    {"Content-Type": "application/json"}
                    if request.method != "GET"
                    else {}
                ),
            ) as answer,
        ):
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type="application/json",
            )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", late)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    target = Target(f"http://{host}:{port}", targets[0].key)
    async with Client(target, retry=NO_RETRY) as client:
        node = FleetNode(client, name="a", run="r")
        await node.deploy("quick", MapAction("python:default", SLEEP, "main"))
        first = await node.run("quick", b'{"s": 0}')
        second = await node.run("quick", b'{"s": 0}')
        await node.remove("quick")
    await runner.cleanup()
    assert not isinstance(first, Done)
    assert isinstance(second, Done)
