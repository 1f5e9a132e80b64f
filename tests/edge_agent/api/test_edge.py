from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientTimeout, encode_basic_auth


async def test_the_node_reports_only_to_the_systems_key(server: Any) -> None:
    refused = await server("GET", "/edge/v1/node")
    report = await server("GET", "/edge/v1/node", identity=server.system)

    assert refused.status == 403
    assert report.body == {"name": "test"}


async def test_load_is_open_to_every_subject(server: Any) -> None:
    answer = await server("GET", "/edge/v1/load")
    nobody = await server("GET", "/edge/v1/load", auth=" ")

    assert answer.body["slots"] == 2
    assert nobody.status == 401


async def test_what_is_not_there_is_404_and_a_wrong_method_405(server: Any) -> None:
    assert (await server("GET", "/edge/v1/nope")).status == 404
    assert (await server("POST", "/edge/v1/load")).status == 405


async def test_the_stream_shows_the_callers_activations_as_they_end(
    server: Any,
) -> None:
    await server.put_action()
    code = {"exec": {"kind": "python:3.11", "code": "x"}}
    await server("PUT", "actions/other", code, identity=server.system)
    async with asyncio.timeout(5), _stream(server) as stream:
        assert stream.content_type == "text/event-stream"
        assert await stream.content.readline() == b": connected\n"
        await server("POST", "actions/other?blocking=true", identity=server.system)
        answer = await server.invoke(body={"n": 1})
        await stream.content.readline()
        line = await stream.content.readline()

    record = json.loads(line.removeprefix(b"data: "))
    assert record["activationId"] == answer.body["activationId"]
    assert record["response"]["result"] == {"n": 1}


async def test_the_stream_ends_when_the_server_stops(server: Any) -> None:
    async with asyncio.timeout(5), _stream(server) as stream:
        await stream.content.readline()
        server.services.stopping.set()
        rest = await stream.content.read()

    assert rest.strip(b"\n: alive") == b""


async def test_a_watcher_that_goes_is_forgotten(server: Any) -> None:
    await server.put_action()
    async with _stream(server) as stream:
        await stream.content.readline()
    for _ in range(3):
        await server.invoke()
        await asyncio.sleep(0.02)

    assert not server.services.stream._subscribers


def _stream(server: Any) -> Any:
    auth = encode_basic_auth(server.guest.uuid, server.guest.key)
    return server.session.get(
        f"{server.url}/edge/v1/activations/stream",
        headers={"Authorization": auth},
        timeout=ClientTimeout(total=None),
    )
