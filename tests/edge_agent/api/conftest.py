"""A server in the test's own loop: real store, engine and pool, fake sandboxes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from edge_agent.api.app import Services, make_runner
from edge_agent.engine.builtins import Builtin
from edge_agent.engine.catalog import Catalog
from edge_agent.engine.engine import Engine
from edge_agent.engine.limits import Limits
from edge_agent.engine.overrides import Overrides
from edge_agent.engine.subjects import Subjects
from edge_agent.model.jobs import Identity
from edge_agent.model.names import SYSTEM_NAMESPACE, FullName
from edge_agent.pool.pool import Pool
from edge_agent.report import pool_counts
from edge_agent.sandbox.fake import FakeFactory
from edge_agent.settings import Settings
from edge_agent.store.store import Store
from edge_agent.telemetry.health import Health
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream

JSON = {"Content-Type": "application/json"}
CODE = {"kind": "python:3.11", "code": "def main(args): return args"}


class Answer:
    """An answer, read: `body` is JSON where the answer is."""

    def __init__(self, response: aiohttp.ClientResponse, text: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = text.decode()
        is_json = response.content_type == "application/json" and bool(text)
        self.body: Any = json.loads(text) if is_json else self.text

    @property
    def error(self) -> str:
        return str(self.body["error"])

    @property
    def has_cors(self) -> bool:
        return "Access-Control-Allow-Origin" in self.headers


class Server:
    """The server and a client of it that is `guest` unless it is told otherwise."""

    def __init__(
        self, services: Services, factory: FakeFactory, session: aiohttp.ClientSession
    ) -> None:
        self.services = services
        self.factory = factory
        self.session = session
        self.url = ""
        self.guest: Identity
        self.system: Identity

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        identity: Identity | None = None,
        auth: str | None = None,
    ) -> Answer:
        """`path` is sent as it is written; below the own namespace unless rooted."""
        full = path if path.startswith("/") else f"/api/v1/namespaces/_/{path}"
        user = identity or self.guest
        sent = {"Authorization": _basic(user.auth) if auth is None else auth}
        if body is not None:
            raw = json.dumps(body, separators=(",", ":")).encode()
            sent |= JSON
        sent |= headers or {}
        sent = {name: value for name, value in sent.items() if value}
        async with self.session.request(
            method,
            URL(self.url + full, encoded=True),
            data=raw if raw is None else io.BytesIO(raw),
            headers=sent,
            skip_auto_headers=("Content-Type", "User-Agent"),
            allow_redirects=False,
        ) as response:
            return Answer(response, await response.read())

    async def put_action(self, name: str = "a", **fields: object) -> dict[str, Any]:
        answer = await self("PUT", f"actions/{name}", {"exec": CODE, **fields})
        assert answer.status == 200, answer.text
        return answer.body

    async def invoke(
        self, name: str = "a", *, query: str = "", body: Any = None
    ) -> Answer:
        return await self("POST", f"actions/{name}?blocking=true{query}", body)

    async def record(self, activation_id: str) -> dict[str, Any]:
        """The record, once it has been written."""
        async with asyncio.timeout(5):
            while True:
                answer = await self("GET", f"activations/{activation_id}")
                if answer.status == 200:
                    return answer.body
                await asyncio.sleep(0.01)


def _basic(auth: str) -> str:
    return aiohttp.encode_basic_auth(*auth.split(":", 1))


async def _shout(_: Identity, arguments: dict[str, Any]) -> Any:
    return {"loud": str(arguments.get("text", "")).upper()}


BUILTINS = {
    name: Builtin(name, _shout, annotations={"description": "loud"})
    for name in (FullName(SYSTEM_NAMESPACE, "shout", "utils"),)
}


@asynccontextmanager
async def _serving(home: Path, settings: Settings) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(Store(home, settings.store))
        factory = FakeFactory()
        pool = Pool(
            factory,
            settings=settings.pool,
            code_of=store.entities.code,
            api_host="http://test",
            response_limit=settings.limits.payload_bytes,
        )
        running = asyncio.create_task(pool.run(), name="pool")
        stack.callback(running.cancel)
        await pool.running()
        stream = ActivationStream()
        overrides = Overrides(settings, store.overrides)
        limits = Limits(overrides.in_force.limits)

        def obey(changed: Settings) -> None:
            limits.set_system(changed.limits)
            pool.response_limit = changed.limits.payload_bytes

        overrides.on_change = obey
        engine = Engine(
            store=store,
            pool=pool,
            builtins=BUILTINS,
            stream=stream,
            log=ActivationLog(),
            limits=limits,
        )
        pool.on_room = engine.room
        catalog = Catalog(
            store.entities,
            kinds=factory,
            limits=limits,
            builtins={name: builtin.action for name, builtin in BUILTINS.items()},
        )
        services = Services(
            engine=engine,
            catalog=catalog,
            store=store,
            settings=settings,
            limits=limits,
            overrides=overrides,
            subjects=Subjects(store, limits, own=("guest", SYSTEM_NAMESPACE)),
            health=Health({"name": "test"}),
            stream=stream,
            load=lambda: {"slots": 2, "free_slots": pool.free_slots()},
            pool_counts=lambda: pool_counts(pool),
        )
        server = Server(services, factory, await enter(aiohttp.ClientSession()))
        server.guest = await store.subjects.ensure("guest")
        server.system = await store.subjects.ensure(SYSTEM_NAMESPACE)
        runner = make_runner(services)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
        await engine.stop()
        await pool.drain(2)
        await runner.cleanup()
        await engine.close()
        await pool.close()


@pytest.fixture
def serving(tmp_path: Path) -> Callable[..., Any]:
    """A server with settings of the test's own, as an async context manager."""
    return lambda settings: _serving(tmp_path / "data", settings)


@pytest.fixture
async def server(serving: Callable[..., Any]) -> AsyncIterator[Server]:
    async with serving(Settings()) as server:
        yield server
