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
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from edge_agent import __version__
from edge_agent.adapters import (
    NodeResults,
    NodeSink,
    check_rule,
    make_builtins,
    make_mqtt_source,
)
from edge_agent.admin import tell_served
from edge_agent.announcing import Announcer
from edge_agent.api.app import Services, make_metrics_runner, make_runner
from edge_agent.engine.api_management import ApiManagement
from edge_agent.engine.catalog import Catalog
from edge_agent.engine.engine import Engine, wall_ms
from edge_agent.engine.limits import Limits
from edge_agent.engine.overrides import Overrides
from edge_agent.engine.subjects import Subjects
from edge_agent.events.feed import MqttPackage
from edge_agent.events.lifecycle import Feeds
from edge_agent.events.mqtt import MqttSource
from edge_agent.keys import read_keys
from edge_agent.listening import (
    Certificate,
    Listening,
    check_keys,
    listen,
    listen_for_metrics,
    stop_listening,
)
from edge_agent.model.errors import BadRequest, SettingsError
from edge_agent.model.names import SYSTEM_NAMESPACE
from edge_agent.pool.pool import Pool
from edge_agent.report import load_report, make_health, pool_counts
from edge_agent.sandbox.drivers import Drivers
from edge_agent.senses import Senses
from edge_agent.settings import Server, Settings
from edge_agent.store.store import Store
from edge_agent.systemd import inherited_sockets
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream

if TYPE_CHECKING:
    from edge_agent.telemetry.traces import Traces

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0


class Node:
    """One running agent; async context manager. `facts` is what --print-json says."""

    def __init__(
        self, settings: Settings, *, wall_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._settings = settings
        self._wall_ms = wall_ms
        self._tasks: list[asyncio.Task[None]] = []
        tls = settings.server.tls
        self._certificate = None if tls is None else Certificate(tls)
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

    def reload(self) -> None:
        """Take the certificate that is in its files now; a wrong one is only logged."""
        if self._certificate is None:
            return
        try:
            self._certificate.load()
            log.info("the certificate was read again")
        except SettingsError as error:
            log.error("%s; the former certificate stays", error)  # noqa: TRY400 it says all

    async def _build(self, stack: AsyncExitStack) -> None:
        """Each part is undone in the reverse order: see the module."""
        settings = self._settings
        if self._certificate is not None:
            self._certificate.load()
        folder = Path.cwd() / settings.data_dir
        store = await stack.enter_async_context(Store(folder, settings.store))
        overrides = Overrides(settings, store.overrides)
        settings = self._settings = overrides.in_force
        limits = Limits(settings.limits)
        await _give_keys(store, settings)
        factory = await stack.enter_async_context(_sandboxes(settings))
        pool = await self._start_pool(stack, store, factory)
        _follow_namespaces(store, factory, pool)
        overrides.on_change = partial(_obey, limits, factory, pool)
        source, senses, engine, stream = self._make_engine(store, pool, limits)
        stack.push_async_callback(engine.close)
        announcer = _announcer(settings, store, source, stream)
        works = [("mqtt", source.run()), ("told", announcer.run()), *senses.work()]
        probes = {
            "delivery": engine.delivery.health,
            "mqtt": source.health,
            "activations_told": announcer.health,
            **senses.health(),
        }
        if engine.traces is not None:
            works.append(("traces", engine.traces.run()))
            probes["traces"] = engine.traces.health
        for name, work in works:
            await stack.enter_async_context(self._background(name, work))
        services = Services(
            engine=engine,
            catalog=self._make_catalog(store, factory, engine),
            store=store,
            settings=settings,
            limits=limits,
            overrides=overrides,
            subjects=_subjects(store, limits, settings),
            health=make_health(settings, store, factory, pool, probes),
            stream=stream,
            load=lambda: load_report(pool, engine),
            in_flight=pool.in_flight,
            pool_counts=lambda: pool_counts(pool),
        )
        runner = make_runner(services)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        stack.push_async_callback(pool.drain, settings.server.stop_timeout_s)
        stack.push_async_callback(engine.stop)
        stack.callback(source.stop_taking)
        stack.callback(senses.stop_taking)
        served = await self._listen(stack, runner, store)
        metrics_url = await stack.enter_async_context(_metrics_server(services))
        pool.api_host = served.url
        await asyncio.to_thread(tell_served, folder, served.url)
        engine.start_delivery()
        self.facts = _facts(served, store, settings.namespace, folder, metrics_url)
        log.info("serving %s, isolation %s", served, factory.level)

    async def _listen(
        self, stack: AsyncExitStack, runner: web.ServerRunner, store: Store
    ) -> Listening:
        server = self._settings.server
        check_keys(server, store.subjects.keys)
        inherited = inherited_sockets(os.environ)
        served = await listen(runner, server, inherited, self._certificate)
        stack.push_async_callback(stop_listening, runner)
        return served

    async def _start_pool(
        self, stack: AsyncExitStack, store: Store, factory: Drivers
    ) -> Pool:
        settings = self._settings
        pool = Pool(
            factory,
            settings=settings.pool,
            code_of=store.entities.code,
            api_host="",  # known once the server listens
            response_limit=settings.limits.payload_bytes,
        )
        stack.push_async_callback(pool.close)
        await stack.enter_async_context(self._background("pool", pool.run()))
        await asyncio.wait_for(pool.running(), START_TIMEOUT_S)
        return pool

    def _make_engine(
        self, store: Store, pool: Pool, limits: Limits
    ) -> tuple[MqttSource, Senses, Engine, ActivationStream]:
        sink = NodeSink(store)
        source = make_mqtt_source(self._settings, store, sink)
        folder = Path.cwd() / self._settings.data_dir
        feeds: Feeds = {}
        senses = Senses(self._settings, store, sink, folder=folder, feeds=feeds)
        stream = ActivationStream()
        engine = Engine(
            store=store,
            pool=pool,
            builtins=make_builtins(
                MqttPackage(source, store.sources, feeds=feeds),
                [*senses.builtins(), *ApiManagement(store.apis).builtins()],
            ),
            stream=stream,
            log=ActivationLog(),
            limits=limits,
            results=NodeResults(source),
            traces=_traces(self._settings),
            wall_ms=self._wall_ms,
        )
        sink.engine = engine
        pool.on_room = engine.room
        return source, senses, engine, stream

    def _make_catalog(self, store: Store, factory: Drivers, engine: Engine) -> Catalog:
        return Catalog(
            store.entities,
            kinds=factory,
            limits=engine.limits,
            builtins={name: b.action for name, b in engine.builtins.items()},
            check_rule=check_rule,
        )

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


def _obey(limits: Limits, factory: Drivers, pool: Pool, changed: Settings) -> None:
    """Settings were overridden: who has to do with them is told."""
    limits.set_system(changed.limits)
    if pool.response_limit != changed.limits.payload_bytes:
        pool.response_limit = factory.response_limit = changed.limits.payload_bytes
        pool.retire_all()
    pool.set_memory_mb(changed.pool.memory_mb)


def _subjects(store: Store, limits: Limits, settings: Settings) -> Subjects:
    return Subjects(
        store,
        limits,
        own=(settings.namespace, SYSTEM_NAMESPACE),
        check_key=partial(_check_key, settings.server),
    )


def _check_key(server: Server, key: str) -> None:
    try:
        check_keys(server, [key])
    except SettingsError as error:
        raise BadRequest(str(error)) from error


def _follow_namespaces(store: Store, factory: Drivers, pool: Pool) -> None:
    """Several tenants share no network: what sandboxes have of it changes with them."""

    def follow() -> None:
        others = [n for n in store.subjects.namespaces if n != SYSTEM_NAMESPACE]
        if factory.share_network(tenants=len(others)):
            pool.retire_all()

    store.subjects.on_change = follow
    follow()


@asynccontextmanager
async def _sandboxes(settings: Settings) -> AsyncIterator[Drivers]:
    factory = await Drivers.open(settings, response_limit=settings.limits.payload_bytes)
    try:
        yield factory
    finally:
        await factory.close()


async def _give_keys(store: Store, settings: Settings) -> None:
    for namespace, keys in read_keys(settings.keys_file).items():
        await store.subjects.adopt(namespace, keys)
    for namespace in (settings.namespace, SYSTEM_NAMESPACE):
        await store.subjects.ensure(namespace)


def _traces(settings: Settings) -> Traces | None:
    """None, and nothing of it is loaded, unless there is a collector."""
    if not settings.tracing.endpoint:
        return None
    from edge_agent.telemetry.traces import Traces  # noqa: PLC0415

    node = settings.node or platform.node()
    return Traces(settings.tracing, node=node, version=__version__)


def _announcer(
    settings: Settings, store: Store, source: MqttSource, stream: ActivationStream
) -> Announcer:
    def user_id(namespace: str) -> str:
        identity = store.subjects.by_namespace(namespace)
        return "" if identity is None else identity.uuid

    return Announcer(
        settings.mqtt.activations_topic,
        node=settings.node or platform.node(),
        stream=stream,
        source=source,
        user_id=user_id,
    )


@asynccontextmanager
async def _metrics_server(services: Services) -> AsyncIterator[str | None]:
    """The second listener, if there is to be one; its URL."""
    server = services.settings.metrics.server
    if server is None:
        yield None
        return
    runner = make_metrics_runner(services)
    await runner.setup()
    try:
        yield await listen_for_metrics(runner, server)
    finally:
        await runner.cleanup()


def _facts(
    served: Listening,
    store: Store,
    namespace: str,
    folder: Path,
    metrics_url: str | None,
) -> dict[str, Any]:
    """What --print-json says."""
    guest = store.subjects.by_namespace(namespace)
    system = store.subjects.by_namespace(SYSTEM_NAMESPACE)
    return {
        "url": served.url,
        **({"tls_url": served.tls_url} if served.tls_url else {}),
        **({"metrics_url": metrics_url} if metrics_url else {}),
        "key": guest and guest.auth,
        "system_key": system and system.auth,
        "pid": os.getpid(),
        "data": str(folder),
    }
