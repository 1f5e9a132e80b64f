"""What the tests of events share: a source on a real broker, and a plain client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest

from edge_agent.events.base import Sink, Subscription
from edge_agent.events.fake import FakeState
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.settings import Mqtt

SourceFactory = Callable[..., MqttSource]


class Running:
    """Sources that run in the background of a test."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(
        self,
        sink: Sink,
        *,
        broker: str,
        state: FakeState | None = None,
        client_id: str = "test",
        **settings: Any,
    ) -> MqttSource:
        settings = {"backoff_s": 0.05, "backoff_most_s": 0.2, **settings}
        source = MqttSource(
            Mqtt(broker=broker, **settings),
            state or FakeState(),
            sink,
            client_id=client_id,
        )
        self._tasks[id(source)] = asyncio.create_task(source.run())
        return source

    async def stop(self, source: MqttSource) -> None:
        await self._end(self._tasks.pop(id(source)))

    async def stop_all(self) -> None:
        while self._tasks:
            await self._end(self._tasks.popitem()[1])

    async def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    sources = Running()
    yield sources
    await sources.stop_all()


def wants(id: str, topic: str, **parameters: Any) -> Subscription:
    """A subscription of trigger `id` in `guest`."""
    return Subscription(
        id=f"guest/{id}",
        namespace="guest",
        feed=FEED,
        config={"topic": topic, **parameters},
    )


@pytest.fixture(name="wants")
def _wants() -> Callable[..., Subscription]:
    return wants


async def until(condition: Callable[[], Any], *, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    return until


def connected(source: MqttSource) -> bool:
    """Whether every connection is up and every subscription is answered."""
    brokers = source.health()["brokers"]
    return bool(brokers) and all(
        one["state"] == "connected"
        and all(
            s["granted"] is not None or s["refusal"] is not None
            for s in one["subscriptions"]
        )
        for one in brokers
    )


@pytest.fixture(name="connected")
def _connected() -> Callable[[MqttSource], bool]:
    return connected


class Publisher:
    """A plain paho client in a thread, to publish and listen from outside."""

    def __init__(self, address: str, version: int = 5) -> None:
        host, port = address.split(":")
        self.heard: list[tuple[str, bytes]] = []
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTProtocolVersion(version)
        )
        self._client.on_message = lambda _c, _d, m: self.heard.append((m.topic, m.payload))
        self._client.connect(host, int(port))
        self._client.loop_start()

    def publish(self, topic: str, payload: Any, qos: int = 1, **more: Any) -> None:
        if not isinstance(payload, bytes | str):
            payload = msgspec.json.encode(payload)
        self._client.publish(topic, payload, qos, **more).wait_for_publish(5)

    async def listen(self, topic: str) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._client.on_subscribe = lambda *_: loop.call_soon_threadsafe(done.set)
        self._client.subscribe(topic, 1)
        async with asyncio.timeout(5):
            await done.wait()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def outside() -> Any:
    """`outside(address)`: a client that is not ours."""
    made: list[Publisher] = []

    def make(address: str, version: int = 5) -> Publisher:
        made.append(Publisher(address, version))
        return made[-1]

    yield make
    for one in made:
        one.close()
