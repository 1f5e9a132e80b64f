"""An API host that misbehaves as it is told: what the client's tests talk to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import pytest
from aiohttp import web

from controller.fleet.client import Client
from controller.fleet.retry import Retry
from controller.fleet.target import Target

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host:
    """Answers in turn with what it was told; the last answer stays."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self._answers: list[Answer] = []

    @property
    def target(self) -> Target:
        return Target(url=self.url, key="23bc46b1-71f6-4ed5-8c54-816aa4f8c502:secret")

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.seen]

    def says(self, status: int, body: object = None, **headers: str) -> Self:
        async def answer(request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(body, str):
                return web.Response(text=body, status=status, headers=named)
            return web.json_response(body, status=status, headers=named)

        self._answers.append(answer)
        return self

    def hangs_up(self) -> Self:
        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self._answers.append(answer)
        return self

    def sleeps(self, seconds: float) -> Self:
        async def answer(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(seconds)
            return web.Response()

        self._answers.append(answer)
        return self

    def does(self, answer: Answer) -> Self:
        self._answers.append(answer)
        return self

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, await request.read()))
        self.headers.append(dict(request.headers))
        turn = min(len(self.seen), len(self._answers)) - 1
        return await self._answers[turn](request)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    host.url = f"http://{address[0]}:{address[1]}"
    yield host
    await runner.cleanup()


@pytest.fixture
async def client(host: Host) -> AsyncIterator[Client]:
    quick = Retry(attempts=3, first_s=0.01, most_s=0.05)
    async with Client(host.target, retry=quick, timeout_s=1) as client:
        yield client


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
