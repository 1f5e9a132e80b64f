"""A node under a stream of messages, and a table of what became of them.

`make faults` runs the long form (EW_FAULTS=full); the suite runs a short one.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
import pytest

FULL = os.environ.get("EW_FAULTS") == "full"
#: What the runs of the action say goes here: it must never overflow.
RECEIVE_BYTES = 8 << 20
FAULT = "fault"  # what a row travels under from a test to the end of the run
COLUMNS = ("fault", "sent", "lost", "duplicates", "allowed", "dead", "seconds")
SETTINGS = """
[sandbox]
minimum_level = "rlimits"
[pool]
memory_mb = 1024
[store]
records = 100000
[mqtt]
broker = "{broker}"
backoff_s = 0.1
backoff_most_s = 0.5
"""
#: Says that it ran, then answers.
ACTION = """
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def main(a):
    n = a.get("payload", a).get("n", a.get("n"))
    time.sleep(a["ms"] / 1000)
    sender.sendto(str(n).encode(), ("127.0.0.1", a["port"]))
    return {"n": n}
"""


class Runs:
    """Counts how often the action ran for each message, wherever that came to."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.2)
        self.port: int = self.socket.getsockname()[1]
        self.counts: Counter[int] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        self.socket.close()

    @property
    def duplicates(self) -> int:
        return sum(self.counts.values()) - len(self.counts)

    def _receive(self) -> None:
        while not self._over.is_set():
            try:
                self.counts[int(self.socket.recv(64))] += 1
            except TimeoutError:
                continue


class Publisher:
    """Publishes {"n": 1}, {"n": 2} ... at QoS 1, whatever the broker does."""

    def __init__(self, port: int, *, count: int, rate: float) -> None:
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="source", clean_session=False
        )
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.count = count
        self._rate = rate
        self.sent = 0
        self._taken = threading.Semaphore(0)
        self._client.on_publish = lambda *_: self._taken.release()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until the broker has acknowledged all of them."""
        self._thread.join(seconds)
        deadline = time.monotonic() + seconds
        for _ in range(self.count):
            taken = self._taken.acquire(timeout=max(0.01, deadline - time.monotonic()))
            assert taken, "the broker took not all messages"

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self) -> None:
        begun = time.monotonic()
        for n in range(1, self.count + 1):
            text = json.dumps({"n": n})
            self._client.publish("sensors/a", text, qos=1)  # queued while it is away
            self.sent = n
            ahead = n / self._rate - (time.monotonic() - begun)
            if self._over.wait(max(0.0, ahead)):
                return


@dataclass(slots=True)
class Node:
    """An agent that may be killed and comes back on the same data."""

    factory: Callable[..., Any]
    settings: str
    data: Any
    agent: Any = None
    kills: int = 0
    answers: Counter[int] = field(default_factory=Counter)

    def start(self) -> None:
        self.agent = self.factory(settings=self.settings, data=self.data)

    def kill(self) -> None:
        self.agent.kill()
        self.kills += 1

    def call(
        self, method: str, path: str, body: Any = None, *, system: bool = False
    ) -> Any:
        """The decoded answer; `path` from the root."""
        key = self.agent.system_key if system else self.agent.key
        token = base64.b64encode(key.encode()).decode()
        request = urllib.request.Request(
            f"{self.agent.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            self.answers[answer.status] += 1
        return json.loads(text) if text else None

    def put(self, path: str, body: Any) -> None:
        self.call("PUT", f"/api/v1/namespaces/_/{path}?overwrite=true", body)

    def set_up(self, runs: Runs, *, ms: int = 2) -> None:
        """Trigger `t` on sensors/#, rule `r`, and an action that takes `ms`."""
        parameters = [{"key": "port", "value": runs.port}, {"key": "ms", "value": ms}]
        action = {"kind": "python:default", "code": ACTION}
        self.put("actions/note", {"exec": action, "parameters": parameters})
        feed = {"key": "feed", "value": "/whisk.system/mqtt/subscribe"}
        self.put("triggers/t", {"annotations": [feed]})
        asked = {
            "lifecycleEvent": "CREATE",
            "triggerName": "/_/t",
            "authKey": self.agent.key,
            "topic": "sensors/#",
            "qos": 1,
        }
        path = "/api/v1/namespaces/whisk.system/actions/mqtt/subscribe?blocking=true"
        self.call("POST", path, asked)
        self.put("rules/r", {"trigger": "/_/t", "action": "/_/note"})

    def results(self) -> set[int]:
        """The messages whose runs have a record that says they went well."""
        found: set[int] = set()
        skip = 0
        while True:
            query = f"limit=200&docs=true&skip={skip}&name=note"
            page = self.call("GET", f"/api/v1/namespaces/_/activations?{query}")
            found |= {
                record["response"]["result"]["n"]
                for record in page
                if record["response"]["success"]
            }
            skip += len(page)
            if len(page) < 200:
                return found

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", "/edge/v1/node", system=True)
        return found

    def settle(self, seconds: float) -> None:
        """Until nothing waits any more."""
        deadline = time.monotonic() + seconds
        while self.report()["store"]["inbox"]:
            assert time.monotonic() < deadline, self.report()
            time.sleep(0.1)


@pytest.fixture
def runs() -> Iterator[Runs]:
    counted = Runs()
    yield counted
    counted.close()


@pytest.fixture
def publish() -> Iterator[Callable[..., Publisher]]:
    made: list[Publisher] = []

    def start(port: int, *, count: int, rate: float) -> Publisher:
        made.append(Publisher(port, count=count, rate=rate))
        return made[-1]

    yield start
    for publisher in made:
        publisher.close()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Add a line to the table at the end of the run."""

    def add(fault: str, **cells: Any) -> None:
        row = (fault, *(cells.get(column, "") for column in COLUMNS[1:]))
        request.node.user_properties.append((FAULT, row))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    told = [p for report in reports for p in report.user_properties]
    rows = [row for name, row in told if name == FAULT]
    if not rows:
        return
    terminalreporter.section("faults")
    widths = [max(len(str(row[i])) for row in (COLUMNS, *rows)) for i in range(7)]
    for row in (COLUMNS, *rows):
        cells = (
            str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        terminalreporter.line("  ".join(cells).rstrip())
