"""What the tests of events share: sources on real brokers, and a plain client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.events.base import Sink, Subscription
from edge_agent.events.fake import FakeState
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.settings import Mqtt


class Outsider:
    """A plain paho client in a thread, to publish and listen from outside."""

    def __init__(self, address: str, version: int = 5) -> None:
        host, port = address.split(":")
        self.heard: list[tuple[str, bytes]] = []
        self.properties: list[Any] = []
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion(version)
        )
        self._client.on_message = self._hear
        self._client.connect(host, int(port))
        self._client.loop_start()

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        self.properties.append(getattr(message, "properties", None))
        self.heard.append((message.topic, bytes(message.payload)))

    def publish(self, topic: str, payload: Any, qos: int = 1, **more: Any) -> None:
        if not isinstance(payload, bytes | str):
            payload = msgspec.json.encode(payload)
        self._client.publish(topic, payload, qos, **more).wait_for_publish(5)

    async def listen(self, topic: str) -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def subscribed(*_: Any) -> None:
            loop.call_soon_threadsafe(done.set)

        self._client.on_subscribe = subscribed
        self._client.subscribe(topic, 1)
        async with asyncio.timeout(5):
            await done.wait()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Ground:
    """Sources that run in the background of a test, and clients that are not ours."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outsiders: list[Outsider] = []

    @staticmethod
    def wants(name: str, topic: str, **parameters: Any) -> Subscription:
        """A subscription of the trigger `name` in `guest`."""
        return Subscription(
            id=f"guest/{name}",
            namespace="guest",
            feed=FEED,
            config={"topic": topic, **parameters},
        )

    @staticmethod
    def state(**topics: str) -> FakeState:
        """A subscription of each trigger to its topic."""
        return FakeState([Ground.wants(name, topic) for name, topic in topics.items()])

    def start(
        self,
        sink: Sink,
        broker: str,
        state: FakeState | None = None,
        *,
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
        return self.run(source)

    def run(self, source: MqttSource) -> MqttSource:
        self._tasks[id(source)] = asyncio.create_task(source.run())
        return source

    async def up(self, source: MqttSource) -> None:
        """Return when its connections are and its subscriptions are answered."""
        async with asyncio.timeout(5):
            await source.wait_until_ready()

    async def stop(self, source: MqttSource) -> None:
        await _end(self._tasks.pop(id(source)))

    def outsider(self, address: str, version: int = 5) -> Outsider:
        self._outsiders.append(Outsider(address, version))
        return self._outsiders[-1]

    async def until(
        self, condition: Callable[[], Any], *, timeout_s: float = 5.0
    ) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        while self._tasks:
            await _end(self._tasks.popitem()[1])
        for outsider in self._outsiders:
            outsider.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    made = Ground()
    yield made
    await made.close()
