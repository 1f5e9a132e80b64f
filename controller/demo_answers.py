"""Where the answers to a replay come from: a topic, or the nodes' activations.

Each is a context manager that listens from its entry on and hands every answer's JSON
text to a callback, from a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from paho.mqtt.client import Client as MqttClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from controller.fleet.client import Client
from controller.fleet.follow import follow
from controller.fleet.target import Target
from edge_agent.model.errors import EdgeWhiskError

CONNECT_TIMEOUT_S = 10.0
IN_FLIGHT = 256

OnAnswer = Callable[[bytes], None]
Answers = Callable[[OnAnswer], AbstractContextManager[None]]


class ReplayError(EdgeWhiskError):
    """The broker or a node cannot be used."""


def of_topic(host: str, port: int, topic: str) -> Answers:
    """What is published to `topic`."""

    @contextmanager
    def answers(on_answer: OnAnswer) -> Iterator[None]:
        with connected(host, port, topic=topic, on_message=on_answer):
            yield

    return answers


def of_activations(targets: Sequence[Target], action: str) -> Answers:
    """The results of `action` as the nodes' live streams tell them."""

    @contextmanager
    def answers(on_answer: OnAnswer) -> Iterator[None]:
        follower = _Follower(targets, action, on_answer)
        follower.start()
        try:
            follower.wait()
            yield
        finally:
            follower.stop()

    return answers


class _Follower(threading.Thread):
    """Follows all nodes on a loop of its own."""

    def __init__(
        self, targets: Sequence[Target], action: str, on_answer: OnAnswer
    ) -> None:
        super().__init__(name="demo-follower", daemon=True)
        self._targets = targets
        self._action = action
        self._on_answer = on_answer
        self._loop = asyncio.new_event_loop()
        self._connected: set[str] = set()
        self._ready = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    def wait(self) -> None:
        """Until every node tells."""
        if not self._ready.wait(CONNECT_TIMEOUT_S):
            raise ReplayError("not all nodes tell of their activations")
        if self._error is not None:
            raise ReplayError(str(self._error)) from self._error

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._follow_all(), name="follow-all")
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 handed to the other thread
            self._error = error
            self._ready.set()
        finally:
            self._loop.close()

    def stop(self) -> None:
        if self.is_alive() and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(CONNECT_TIMEOUT_S)

    async def _follow_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(self._follow(target), name=f"follow-{target.name}")

    async def _follow(self, target: Target) -> None:
        def connected() -> None:
            self._connected.add(target.url)
            if len(self._connected) == len(self._targets):
                self._ready.set()

        async with Client(target) as client:
            async for record in follow(client, on_connected=connected):
                if record.name == self._action:
                    self._on_answer(bytes(record.response.result))


@contextmanager
def connected(
    host: str,
    port: int,
    *,
    topic: str | None = None,
    on_message: OnAnswer | None = None,
) -> Iterator[MqttClient]:
    """A client that is connected and, with `topic`, subscribed.

    MQTT 3.1.1, because amqtt knows nothing newer.
    """
    ready = threading.Event()
    client = MqttClient(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(IN_FLIGHT)

    def on_connect(*_: Any) -> None:
        if topic is None:
            ready.set()
        else:
            client.subscribe(topic, qos=1)

    def came(_client: Any, _userdata: Any, message: MQTTMessage) -> None:
        if on_message is not None:
            on_message(bytes(message.payload))

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = came
    try:
        client.connect(host, port)
    except OSError as error:
        raise ReplayError(f"no broker at {host}:{port}: {error}") from error
    client.loop_start()
    try:
        if not ready.wait(CONNECT_TIMEOUT_S):
            raise ReplayError(f"the broker at {host}:{port} does not answer")
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
