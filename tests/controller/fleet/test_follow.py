"""Following activations: by stream where there is one, else by asking."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from controller.fleet.client import Client
from controller.fleet.follow import follow


def record(number: int) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return {
        "namespace": "guest",
        "name": f"a{number}",
        "version": "0.0.1",
        "subject": "guest",
        "activationId": f"{number:032x}",
        "start": now,
        "end": now,
        "duration": 0,
        "response": {"status": "success", "success": True, "result": {}},
        "logs": [],
        "annotations": [],
        "publish": False,
    }


class Server:
    """An API host with these activations; `streams` decides about `/edge/v1`."""

    def __init__(self, *, streams: bool) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.streams = streams
        self.opened = 0
        self.next: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def add(self, number: int) -> dict[str, Any]:
        made = record(number)
        self.records[made["activationId"]] = made
        return made

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/edge/v1/activations/stream":
            return await self.stream(request)
        if request.path.endswith("/activations"):
            return web.json_response(
                [{**r, "statusCode": 0} for r in reversed(self.records.values())]
            )
        return web.json_response(self.records[request.path.rpartition("/")[2]])

    async def stream(self, request: web.Request) -> web.StreamResponse:
        if not self.streams:
            return web.json_response({"error": "no", "code": "x"}, status=405)
        self.opened += 1
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b": connected\n\n")
        while (told := await self.next.get()) is not None:
            await answer.write(f"data: {json.dumps(told)}\n\n".encode())
        return answer


async def names(host: Any, server: Server, count: int, after: Any) -> list[str]:
    host.does(server)
    found = []
    async with Client(host.target) as client:
        records = follow(client, on_connected=after)
        async for one in records:
            found.append(one.name)
            if len(found) == count:
                break
        await records.aclose()  # type: ignore[attr-defined]
    return found


async def test_a_stream_is_followed(host: Any) -> None:
    server = Server(streams=True)

    def connected() -> None:
        server.next.put_nowait(server.add(1))
        server.next.put_nowait(server.add(2))

    assert await names(host, server, 2, connected) == ["a1", "a2"]
    server.next.put_nowait(None)


async def test_a_record_of_many_megabytes_is_one_line_all_the_same(host: Any) -> None:
    server = Server(streams=True)

    def connected() -> None:
        big = {**server.add(1), "logs": ["x" * 3_000_000]}
        server.next.put_nowait(big)
        server.next.put_nowait(server.add(2))

    assert await names(host, server, 2, connected) == ["a1", "a2"]
    server.next.put_nowait(None)


async def test_what_ended_while_the_stream_was_broken_is_fetched(host: Any) -> None:
    server = Server(streams=True)

    def connected() -> None:
        if server.opened == 1:
            server.next.put_nowait(server.add(1))
            server.next.put_nowait(None)  # it breaks
        else:
            server.add(2)  # nobody streamed it
            server.next.put_nowait(server.add(3))

    assert await names(host, server, 3, connected) == ["a1", "a2", "a3"]
    server.next.put_nowait(None)


async def test_a_host_without_stream_is_asked_and_shows_each_once(host: Any) -> None:
    server = Server(streams=False)

    def connected() -> None:
        server.add(1)
        server.add(2)

    async def later() -> None:
        await asyncio.sleep(0.3)
        server.add(3)

    adding = asyncio.ensure_future(later())
    assert await names(host, server, 3, connected) == ["a1", "a2", "a3"]
    await adding
