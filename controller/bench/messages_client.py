"""A client that publishes numbers to `in/...` and waits for them on `out/...`.

paho without its thread: one select, so that what is measured is not its locks.
"""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any, Self

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from controller.bench.load import BenchError

#: Messages without a result at any time, when there is to be no backlog.
WINDOW = 400
TOPICS = 20
CONNECT_TIMEOUT_S = 10.0


class MessageClient:
    """Owns the numbers that have no answer yet."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next = 0
        self._open: set[int] = set()
        self._subscribed = False
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = self._hear
        self._client.on_subscribe = self._on_subscribe

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait(self._client.is_connected, CONNECT_TIMEOUT_S)
        self._client.subscribe("out/#", 0)
        self._wait(lambda: self._subscribed, CONNECT_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_write()

    def flood(self, count: int, *, window: int = WINDOW, timeout_s: float) -> float:
        """Publish `count` messages, at most `window` of them open: the seconds."""
        begun = time.perf_counter()
        deadline = begun + timeout_s
        left = count
        while left or self._open:
            for _ in range(min(left, window - len(self._open), 50)):
                self._publish()
                left -= 1
            self._turn(0 if left and len(self._open) < window else 0.05)
            if time.perf_counter() > deadline:
                raise BenchError(f"{len(self._open) + left} of {count} had no result")
        return time.perf_counter() - begun

    def ask(self, *, timeout_s: float) -> float:
        """Publish one message and wait for its result: the seconds."""
        begun = time.perf_counter()
        self._publish()
        self._wait(lambda: not self._open, timeout_s)
        return time.perf_counter() - begun

    def _publish(self) -> None:
        number = self._next
        self._next += 1
        self._open.add(number)
        self._client.publish(f"in/{number % TOPICS}", f'{{"n": {number}}}', 1)

    def _wait(self, done: Any, timeout_s: float) -> None:
        deadline = time.perf_counter() + timeout_s
        while not done():
            if time.perf_counter() > deadline:
                raise BenchError("the broker or the result did not come in time")
            self._turn(0.05)

    def _turn(self, wait_s: float) -> None:
        """Send what there is, read what has come."""
        while self._client.want_write():
            self._client.loop_write()
        readable, _, _ = select.select([self._socket()], [], [], wait_s)
        if readable:
            self._client.loop_read(50)
        self._client.loop_misc()

    def _socket(self) -> Any:
        found = self._client.socket()
        if found is None:
            raise BenchError("the broker has ended the connection")
        return found

    def _hear(self, _client: Any, _data: Any, message: Any) -> None:
        self._open.discard(json.loads(message.payload).get("n"))

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed = True
