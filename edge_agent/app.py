"""The composition root: the only file that knows every room.

`Node` builds the agent inside out (store, sandboxes, pool, engine, sources, API), runs
it, and takes it down in the order that keeps the promises: no new connections, no new
work, what runs may finish, what does not is in the inbox, then everything is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from edge_agent import __version__
from edge_agent.api.app import Services, make_runner
from edge_agent.engine.builtins import Builtin
from edge_agent.engine.catalog import Catalog
from edge_agent.engine.engine import Engine
from edge_agent.events.base import Event, Receipt
from edge_agent.events.mqtt import MqttSource
from edge_agent.model.errors import RequestError, SettingsError, Unavailable
from edge_agent.model.names import SYSTEM_NAMESPACE, FullName
from edge_agent.pool.pool import Pool
from edge_agent.sandbox.process import ProcessFactory
from edge_agent.settings import Settings
from edge_agent.store.store import Store
from edge_agent.telemetry.health import Health
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0


class Node:
    """One running agent; async context manager. `facts` is what --print-json says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self.facts: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._build(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def serve_until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set; raises when something of ours breaks."""
        waiting = asyncio.create_task(stop.wait(), name="node.stop")
        done, _ = await asyncio.wait(
            {waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        for task in done - {waiting}:
            task.result()

    async def _build(self, stack: AsyncExitStack) -> None:
        """Each part is undone in the reverse order: see the module."""
        settings = self._settings
        enter = stack.enter_async_context
        folder = Path.cwd() / settings.data_dir
        store = await enter(Store(folder, settings.store))
        guest = await store.subjects.ensure(settings.namespace)
        system = await store.subjects.ensure(SYSTEM_NAMESPACE)
        factory = await enter(_sandboxes(settings))
        pool = Pool(
            factory,
            settings=settings.pool,
            code_of=store.entities.code,
            api_host="",
            response_limit=settings.limits.payload_bytes,
        )
        stack.push_async_callback(pool.close)
        await enter(self._background("pool", pool.run()))
        await asyncio.wait_for(pool.running(), START_TIMEOUT_S)

        sink = _Sink(store)
        source = MqttSource(
            settings.mqtt, store.sources, sink, client_id=f"edgewhisk-{store.node_id}"
        )
        builtins: dict[FullName, Builtin] = {}
        stream = ActivationStream()
        engine = Engine(
            store=store,
            pool=pool,
            builtins=builtins,
            stream=stream,
            log=ActivationLog(),
        )
        sink.engine = engine
        pool.on_room = engine.room
        stack.push_async_callback(engine.close)

        health = _health(settings, store, factory, pool, source)
        catalog = Catalog(
            store.entities,
            kinds=factory,
            limits=settings.limits,
            builtins={name: b.action for name, b in builtins.items()},
        )
        services = Services(
            engine=engine,
            catalog=catalog,
            store=store,
            settings=settings,
            health=health,
            stream=stream,
            load=lambda: _load(pool, engine),
        )
        runner = make_runner(services)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(pool.drain, settings.server.stop_timeout_s)
        stack.push_async_callback(engine.stop)
        await enter(self._background("mqtt", source.run()))
        url = await _listen(runner, settings)
        stack.push_async_callback(_stop_listening, runner)
        pool.api_host = url
        engine.start_delivery()
        self.facts = {
            "url": url,
            "key": guest.auth,
            "system_key": system.auth,
            "pid": os.getpid(),
            "data": str(folder),
        }
        log.info("serving %s, isolation %s", url, factory.level)

    @asynccontextmanager
    async def _background(
        self, name: str, work: Coroutine[Any, Any, None]
    ) -> AsyncIterator[None]:
        """A task of the node's own: its failure ends the node, its exit cancels it."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        try:
            yield
        finally:
            self._tasks.remove(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class _Sink:
    """The node's own sink: an event fires the trigger its subscription belongs to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.engine: Engine | None = None

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        namespace, _, trigger = event.subscription.partition("/")
        identity = self._store.subjects.by_namespace(namespace)
        if self.engine is None or identity is None:
            receipt.set_result(Receipt.REFUSED)
            return receipt
        try:
            fired = self.engine.fire(
                identity,
                trigger=FullName(namespace, trigger),
                payload=event.payload,
                headers={},
                transaction_id=uuid.uuid4().hex,
            )
        except RequestError:  # the trigger is gone: nothing wants this any more
            receipt.set_result(Receipt.UNWANTED)
        except Unavailable:
            receipt.set_result(Receipt.REFUSED)
        else:
            fired.add_done_callback(lambda done: receipt.set_result(_receipt(done)))
        return receipt


def _receipt(fired: asyncio.Future[str | None]) -> Receipt:
    if fired.cancelled() or fired.exception() is not None:
        return Receipt.REFUSED
    return Receipt.UNWANTED if fired.result() is None else Receipt.KEPT


@asynccontextmanager
async def _sandboxes(settings: Settings) -> AsyncIterator[ProcessFactory]:
    factory = await ProcessFactory.open(
        settings.sandbox,
        settings.runtimes,
        response_limit=settings.limits.payload_bytes,
    )
    try:
        yield factory
    finally:
        await factory.close()


async def _listen(runner: web.ServerRunner, settings: Settings) -> str:
    """Bind, and return the URL: with port 0 only the system knows it before."""
    server = settings.server
    site = web.TCPSite(runner, server.host, server.port)
    try:
        await site.start()
    except OSError as error:
        raise SettingsError(
            f"server.port: cannot listen on {server.host}:{server.port}: "
            f"{error.strerror}; name another port, or 0 for any"
        ) from error
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop_listening(runner: web.ServerRunner) -> None:
    for site in list(runner.sites):
        await site.stop()


def _load(pool: Pool, engine: Engine) -> dict[str, Any]:
    view = pool.view()
    return {
        "slots": view.slots,
        "free_slots": pool.free_slots(),
        "running": view.active,
        "queue": view.queued,
        "inbox": engine.waiting,
    }


def _health(
    settings: Settings,
    store: Store,
    factory: ProcessFactory,
    pool: Pool,
    source: MqttSource,
) -> Health:
    started = time.monotonic()
    health = Health(
        {
            "name": settings.node or platform.node(),
            "version": __version__,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "kinds": list(factory.kinds),
            "isolation": {
                "level": factory.level,
                "findings": [str(finding) for finding in factory.probe.findings],
            },
        }
    )
    health.register("uptime_s", lambda: round(time.monotonic() - started, 1))
    health.register("rss_bytes", _rss_bytes)
    health.register("pool", lambda: _pool_report(pool))
    health.register("store", lambda: _store_report(store))
    health.register("mqtt", source.health)
    return health


def _pool_report(pool: Pool) -> dict[str, Any]:
    view = pool.view()
    return {
        "slots": view.slots,
        "memory_mb": view.memory_mb,
        "used_mb": view.used_mb,
        "running": view.active,
        "queued": view.queued,
        "sandboxes": {str(state): n for state, n in view.states.items()},
    }


def _store_report(store: Store) -> dict[str, Any]:
    return {
        "inbox": store.inbox.depth,
        "inbox_bytes": store.inbox.size_bytes,
        "pending_bytes": store.writer.pending_bytes,
        "commits": store.writer.commits,
        "failure": store.writer.failure,
    }


def _rss_bytes() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
