"""From a message published to its result: broker, feed, action, outbox and back.

A trigger on the MQTT feed, a rule whose results are published, and users that publish
and wait. With `--rate` they do not wait. A result that does not come is a failure.

    locust -f loadtests MqttResultUser --headless -u 8 -t 30s --qos 1 --broker HOST:1883
"""

from __future__ import annotations

import socket
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

from _actions import ECHO
from _arrivals import due_times
from _entities import Action, Entity, FeedRule, entity_name
from _open_loop import OVERLOADED, OpenLoop
from _target import TargetError, find_broker
from gevent.event import Event
from locust import task
from locust.contrib.mqtt import MqttClient, MqttUser

FEED = "/whisk.system/mqtt/subscribe"
CONNECT_S = 10.0
PATIENCE_S = 10.0
WARM_S = 0.5
DEFAULT_PORT = 1883
BODY = b'{"data": "20.5"}'


class QuietClient(MqttClient):
    """Its own steps are no figures of ours: only from message to result is counted."""

    def _on_publish_cb(self, client: Any, userdata: Any, mid: int) -> None:
        del client, userdata
        self._publish_requests.pop(mid, None)

    def _on_connect_cb(
        self, client: Any, userdata: Any, flags: dict[str, int], rc: Any
    ) -> None:
        del userdata, flags
        if rc == 0:
            client.user.subscribe()

    def _on_disconnect_cb(self, client: Any, userdata: Any, rc: Any) -> None:
        if rc != 0:
            super()._on_disconnect_cb(client, userdata, rc)


class MqttResultUser(MqttUser):
    """Its topics are its own, so that each result finds its user."""

    client_cls = QuietClient

    @classmethod
    def entities(cls, options: Namespace) -> Sequence[Entity]:
        host, port = _broker(options)
        broker = f"{host}:{port}"
        topic = f"{entity_name('in', options)}/{{user}}/{{number}}"
        answers = f"{entity_name('out', options)}/{{args.user}}/{{args.number}}"
        published = {"topic": answers, "qos": options.qos, "broker": broker}
        rule = FeedRule(
            "messages",
            feed=FEED,
            action=ECHO.name,
            parameters={"broker": broker, "topic": topic, "qos": options.qos},
            annotations={"mqtt-result-topic": published},
        )
        return [Action(ECHO), rule]

    def __init__(self, environment: Any) -> None:
        self.host, self.port = _broker(environment.parsed_options)
        with warnings.catch_warnings():
            # Locust's client is made with paho's old form of callbacks.
            warnings.simplefilter("ignore", DeprecationWarning)
            super().__init__(environment)
        self._me = uuid4().hex[:8]
        self._answered: dict[str, Event] = {}
        self._sent = 0
        self._subscribed = Event()
        self.client.user = self  # type: ignore[attr-defined]
        self.client.on_socket_open = _without_delay
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._subscribed.set()

    def on_start(self) -> None:
        """Until a message has come through: the node may still be subscribing."""
        deadline = time.monotonic() + CONNECT_S
        self._subscribed.wait(CONNECT_S)
        while time.monotonic() < deadline:
            if self._wait_for_result("warm", wait_s=WARM_S):
                return
        address = f"{self.host}:{self.port}"
        self._report(0.0, 0.0, f"nothing comes back by way of the broker {address}")

    def on_stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self) -> None:
        """To this user's results; again after each connection."""
        topic = f"{entity_name('out', self._options)}/{self._me}/#"
        super(MqttClient, self.client).subscribe(topic, self._options.qos)

    @task
    def message(self) -> None:
        options = self._options
        if not options.rate:
            self._one(None)
            return
        OpenLoop(self._one, self._refuse).run(due_times(options.rate, options.arrivals))

    @property
    def _options(self) -> Namespace:
        return cast("Namespace", self.environment.parsed_options)

    def _one(self, due: float | None) -> None:
        self._sent += 1
        sent = time.perf_counter()
        late_ms = 0.0 if due is None else (sent - due) * 1000
        came = self._wait_for_result(str(self._sent))
        ms = (time.perf_counter() - sent) * 1000 + late_ms
        self._report(ms, late_ms, None if came else f"no result in {PATIENCE_S:.0f} s")

    def _wait_for_result(self, number: str, wait_s: float = PATIENCE_S) -> bool:
        answered = self._answered[number] = Event()
        topic = f"{entity_name('in', self._options)}/{self._me}/{number}"
        self.client.publish(topic, BODY, qos=self._options.qos)
        try:
            return bool(answered.wait(wait_s))
        finally:
            del self._answered[number]

    def _on_message(self, *given: Any) -> None:
        """A result again is a duplicate, which at-least-once allows."""
        answered = self._answered.get(given[2].topic.rpartition("/")[2])
        if answered is not None:
            answered.set()

    def _refuse(self, due: float) -> None:
        late_ms = (time.perf_counter() - due) * 1000
        self._report(late_ms, late_ms, OVERLOADED)

    def _report(self, ms: float, late_ms: float, error: str | None) -> None:
        self.environment.events.request.fire(
            request_type="MQTT",
            name=f"mqtt qos {self._options.qos} publish to result",
            response_time=ms,
            response_length=0,
            exception=None if error is None else RuntimeError(error),
            context={"late_ms": late_ms},
        )


def _without_delay(_client: Any, _userdata: Any, connection: Any) -> None:
    """Or Nagle's algorithm would be measured: 40 ms for a PUBLISH after a PUBACK."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _broker(options: Namespace) -> tuple[str, int]:
    """The broker that nodes and users share.

    Raises:
        TargetError: none is named and no local fleet has one, or its port is none.
    """
    text = options.broker or find_broker()
    if not text:
        raise TargetError("no broker: give --broker HOST:PORT")
    host, _, port = text.rpartition(":") if ":" in text else (text, "", DEFAULT_PORT)
    try:
        return host, int(port)
    except ValueError:
        raise TargetError(f"--broker {text}: not HOST:PORT") from None
