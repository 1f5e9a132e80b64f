"""Promise 1 on a real agent: accepted means kept, and nothing is told before it is.

`kill -9` between acceptance and execution; and a library between the agent and the
kernel that slows every fsync and notes when it began and ended.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

Agents = Callable[..., Any]
SLEEPER = (
    "import time\ndef main(a):\n    time.sleep(a['s'])\n    return {'n': a['n']}\n"
)
FIRST = "def main(a):\n    return a\n"
LAST = "def main(a):\n    return dict(a, end=True)\n"
SETTINGS = """
[sandbox]
minimum_level = "rlimits"
[pool]
memory_mb = 512
"""
FSYNC_MS = 40


class Api:
    """Blocking calls of one agent, one connection for each thread."""

    def __init__(self, agent: Any) -> None:
        self._place = urlsplit(agent.url)
        token = base64.b64encode(agent.key.encode()).decode()
        self._headers = {
            "Authorization": f"Basic {token}",
            "Content-Type": "application/json",
        }
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def call(
        self, method: str, path: str, body: Any = None, *, namespace: str = "_"
    ) -> tuple[int, Any]:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._place.netloc, timeout=30)
            self._local.connection = connection
            self._open.append(connection)
        data = None if body is None else json.dumps(body).encode()
        route = f"/api/v1/namespaces/{namespace}/{path}"
        connection.request(method, route, body=data, headers=self._headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def put(self, path: str, body: Any) -> None:
        status, answer = self.call("PUT", f"{path}?overwrite=true", body)
        assert status == 200, answer

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            status, page = self.call(
                "GET", f"activations?limit=200&docs=true&skip={len(found)}"
            )
            assert status == 200
            found += page
            if len(page) < 200:
                return found


@pytest.fixture
def connect() -> Iterator[Callable[[Any], Api]]:
    made: list[Api] = []

    def make(agent: Any) -> Api:
        made.append(Api(agent))
        return made[-1]

    yield make
    for api in made:
        api.close()


def put_sleeper(api: Api) -> None:
    api.put("actions/sleeper", {"exec": {"kind": "python:default", "code": SLEEPER}})


def until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@pytest.mark.timeout(90)
def test_kill_9_between_acceptance_and_execution_loses_nothing(
    agent_factory: Agents, connect: Callable[[Any], Api], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    agent = agent_factory(settings=SETTINGS, data=data)
    api = connect(agent)
    put_sleeper(api)

    def accept(n: int) -> tuple[str, int]:
        status, answer = api.call("POST", "actions/sleeper", {"s": 0.1, "n": n})
        assert status == 202
        return answer["activationId"], n

    with ThreadPoolExecutor(16) as threads:
        accepted = dict(threads.map(accept, range(100)))
    agent.kill()
    done_before = _records_in(data)
    assert done_before <= 10, "the kill came too late to show anything"

    api = connect(agent_factory(settings=SETTINGS, data=data))
    until(lambda: len(api.records()) >= 100, seconds=60)
    time.sleep(0.5)  # a repeated one would come now
    records = api.records()
    assert sorted(r["activationId"] for r in records) == sorted(accepted)
    results = {r["activationId"]: r["response"]["result"]["n"] for r in records}
    assert results == accepted


@pytest.mark.timeout(60)
def test_kill_9_in_the_middle_of_a_sequence_loses_nothing_and_is_told(
    agent_factory: Agents, connect: Callable[[Any], Api], tmp_path: Path
) -> None:
    """One that was accepted, one whose wait had expired, one fired: the same for all."""
    data, settings = tmp_path / "data", SETTINGS.replace("512", "2048")
    agent = agent_factory(settings=settings, data=data)
    api = connect(agent)
    put_sleeper(api)
    for name, code in (("first", FIRST), ("last", LAST)):
        api.put(f"actions/{name}", {"exec": {"kind": "python:default", "code": code}})
    components = ["/_/first", "/_/sleeper", "/_/last"]
    api.put("actions/chain", {"exec": {"kind": "sequence", "components": components}})
    api.put("triggers/t", {})
    api.put("rules/r", {"trigger": "/_/t", "action": "/_/chain"})
    told = [
        api.call("POST", path, {"s": 2, "n": 7})
        for path in (
            "actions/chain",
            "actions/chain?blocking=true&timeout=100",
            "triggers/t",
        )
    ]
    assert [status for status, _ in told] == [202] * 3
    until(lambda: _names(api).count("first") == 3, seconds=10)
    assert "sleeper" not in _names(api)
    agent.kill()

    api = connect(agent_factory(settings=settings, data=data))
    until(lambda: _names(api).count("chain") == 3, seconds=30)
    by_id = {record["activationId"]: record for record in api.records()}
    ended = [record for record in by_id.values() if record["name"] == "chain"]
    assert {answer["activationId"] for _, answer in told} < by_id.keys()
    for record in ended:
        assert record["response"]["result"] == {"n": 7, "end": True}
        ran = [by_id[one]["name"] for one in record["logs"]]
        assert ran == ["first", "sleeper", "last"]
        annotations = {a["key"]: a["value"] for a in record["annotations"]}
        assert annotations["attempts"] == 2


def _names(api: Api) -> list[str]:
    return [record["name"] for record in api.records()]


def _records_in(data: Path) -> int:
    """How many records are in the file of an agent that is gone."""
    connection = sqlite3.connect(data / "state.db")
    (count,) = connection.execute("SELECT count(*) FROM activation").fetchone()
    connection.close()
    return int(count)


# --- nothing is told before its fsync has returned --------------------------------


@dataclass(frozen=True, slots=True)
class Fsync:
    """One fsync of the database's log; times in ns of CLOCK_MONOTONIC."""

    begun: int
    ended: int


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    source = Path(__file__).parents[2] / "controller" / "bench" / "fsync_shim.c"
    library = tmp_path_factory.mktemp("shim") / "fsync_shim.so"
    options = ["-shared", "-fPIC", "-O2", "-ldl", "-pthread"]
    subprocess.run(["cc", str(source), "-o", str(library), *options], check=True)
    return library


@pytest.fixture
def fsyncs(
    shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[Fsync]]:
    """Agents started from now on are slowed and watched; call to read the log."""
    log = tmp_path / "fsyncs.log"
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    monkeypatch.setenv("EW_FSYNC_DELAY_MS", str(FSYNC_MS))
    monkeypatch.setenv("EW_FSYNC_LOG", str(log))

    def read() -> list[Fsync]:
        lines = [line.split() for line in log.read_text().splitlines()]
        return [
            Fsync(int(begun), int(ended))
            for begun, ended, _, _, result, path in lines
            if path.endswith("state.db-wal") and result == "0"
        ]

    return read


def assert_one_between(fsyncs: list[Fsync], sent: int, told: int) -> None:
    assert any(sent < f.begun and f.ended < told for f in fsyncs), (sent, told)


def test_no_202_leaves_before_its_fsync_has_returned(
    agent_factory: Agents,
    connect: Callable[[Any], Api],
    fsyncs: Callable[[], list[Fsync]],
) -> None:
    agent = agent_factory(settings=SETTINGS)
    api = connect(agent)
    put_sleeper(api)
    api.put("triggers/t", {})
    api.put("rules/r", {"trigger": "/_/t", "action": "/_/sleeper"})

    def timed(path: str) -> tuple[int, int]:
        sent = time.monotonic_ns()
        status, answer = api.call("POST", path, {"s": 0.0, "n": 1})
        told = time.monotonic_ns()
        assert status == 202, answer
        return sent, told

    with ThreadPoolExecutor(8) as threads:
        invokes = list(threads.map(timed, ["actions/sleeper"] * 40))
        fires = list(threads.map(timed, ["triggers/t"] * 40))
        expired = list(threads.map(lambda _: _expire(api), range(4)))
    for sent, told in [*invokes, *fires, *expired]:
        assert_one_between(fsyncs(), sent, told)


def _expire(api: Api) -> tuple[int, int]:
    """A blocking call that outlives its wait: from the end of the wait to its 202."""
    path = "actions/sleeper?blocking=true&timeout=200"
    sent = time.monotonic_ns()
    status, _ = api.call("POST", path, {"s": 2.0, "n": 1})
    assert status == 202
    return sent + 200_000_000, time.monotonic_ns()


class Tap:
    """Between an agent and its broker: notes when packets of a type pass by.

    `published` are the moments at which a PUBLISH went on to the agent, by packet id;
    `acknowledged` those at which its PUBACK came back.
    """

    def __init__(self, broker: tuple[str, int]) -> None:
        self._broker = broker
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.published: dict[int, int] = {}
        self.acknowledged: dict[int, int] = {}
        self._sockets: list[Any] = [self._server]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                agent, _ = self._server.accept()
            except OSError:
                return
            broker = socket.create_connection(self._broker)
            self._sockets += [agent, broker]
            for source, sink, note in (
                (broker, agent, self._note_publish),
                (agent, broker, self._note_puback),
            ):
                thread = threading.Thread(target=_pump, args=(source, sink, note))
                self._threads.append(thread)
                thread.start()

    def _note_publish(self, head: int, body: bytes) -> None:
        if head >> 4 == 3 and head & 0x06:
            topic = int.from_bytes(body[:2], "big")
            packet = int.from_bytes(body[2 + topic : 4 + topic], "big")
            self.published.setdefault(packet, time.monotonic_ns())

    def _note_puback(self, head: int, body: bytes) -> None:
        if head >> 4 == 4:
            packet = int.from_bytes(body[:2], "big")
            self.acknowledged.setdefault(packet, time.monotonic_ns())


def _pump(source: Any, sink: Any, note: Callable[[int, bytes], None]) -> None:
    """Hand whole packets on, each noted before it leaves."""
    reader = source.makefile("rb")
    try:
        while head := reader.read(1):
            packet, length = bytearray(head), 0
            for shift in (0, 7, 14, 21):
                byte = reader.read(1)[0]
                packet.append(byte)
                length |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
            body = reader.read(length)
            note(head[0], body)
            sink.sendall(bytes(packet) + body)
    except (OSError, IndexError, ValueError):
        return


@pytest.fixture
def tap(broker: Any) -> Iterator[Tap]:
    host, _, port = broker.address.partition(":")
    tap = Tap((host, int(port)))
    yield tap
    tap.close()


@pytest.mark.broker
def test_no_puback_leaves_before_its_fsync_has_returned(
    agent_factory: Agents,
    connect: Callable[[Any], Api],
    broker: Any,
    tap: Tap,
    fsyncs: Callable[[], list[Fsync]],
) -> None:
    agent = agent_factory(
        settings=f'{SETTINGS}\n[mqtt]\nbroker = "127.0.0.1:{tap.port}"\n'
    )
    api = connect(agent)
    put_sleeper(api)
    subscribe(api, agent.key, "sensors/#")
    api.put("rules/r", {"trigger": "/_/t", "action": "/_/sleeper"})
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    lines = "".join(f'{{"s": 0, "n": {n}}}\n' for n in range(50))
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "sensors/a", "-l"],
        input=lines,
        text=True,
        env=environment,
        check=True,
        timeout=20,
    )
    until(lambda: len(tap.acknowledged) >= 50, seconds=20)
    noted = fsyncs()
    for packet, told in tap.acknowledged.items():
        assert_one_between(noted, tap.published[packet], told)


def subscribe(api: Api, key: str, topic: str) -> None:
    """What `wsk trigger create t --feed /whisk.system/mqtt/subscribe` sends (H21)."""
    api.put(
        "triggers/t",
        {"annotations": [{"key": "feed", "value": "/whisk.system/mqtt/subscribe"}]},
    )
    status, answer = api.call(
        "POST",
        "actions/mqtt/subscribe?blocking=true",
        {
            "lifecycleEvent": "CREATE",
            "triggerName": "/_/t",
            "authKey": key,
            "topic": topic,
            "qos": 1,
        },
        namespace="whisk.system",
    )
    assert status == 200, answer
