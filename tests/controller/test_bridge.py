"""From a topic to a node of the fleet."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import paho.mqtt.client
import paho.mqtt.enums
import paho.mqtt.publish
import pytest

from controller.bridge import Bridge, BridgeProcess
from controller.bridge_jobs import JobDesk
from controller.bridge_map import Entry, parse_map
from controller.bridge_sink import FleetSink
from controller.fleet.client import Client
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError
from controller.fleet.wire import ActionBody
from edge_agent.events.base import Event, Outgoing, Receipt
from edge_agent.model.entities import Exec

if TYPE_CHECKING:
    from tests.conftest import Agent, Broker


class FakeHost:
    """A node that takes what it is sent, unless it is told to answer otherwise."""

    def __init__(self, name: str, load: Any = None) -> None:
        self.target = Target(url=f"http://{name}", key="a:b", name=name)
        self.load = load or {"slots": 4, "running": 0, "queue": 0, "inbox": 0}
        self.answer: int | None = 202
        self.posts: list[tuple[str, Any]] = []

    async def post(self, name: str, payload: bytes) -> str:
        await asyncio.sleep(0)
        if self.answer != 202:
            raise OpenWhiskError(self.answer or 0, f"{name}: no", maybe_done=False)
        self.posts.append((name, msgspec.json.decode(payload)))
        return "0" * 32

    async def edge(self, path: str) -> Any:
        assert path == "load"
        if not self.answer:
            raise OpenWhiskError(0, "cannot connect")
        if self.load == "none":
            raise OpenWhiskError(404, "no such route")
        return self.load


ENTRIES = parse_map("entries: [{topic: a/#, action: act}]").entries


@asynccontextmanager
async def running(
    *hosts: FakeHost, entries: Sequence[Entry] = ENTRIES
) -> AsyncIterator[FleetSink]:
    sink = FleetSink(hosts, entries)
    for node in sink.nodes:
        await sink.look(node)
    task = asyncio.create_task(sink.run())
    yield sink
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def event(sink: FleetSink, payload: bytes = b"{}") -> Event:
    (name,) = sink.entries
    return Event(subscription=name, payload=payload, origin="mqtt:a/b")


async def receipt_of(sink: FleetSink, payload: bytes = b"{}") -> Receipt:
    async with asyncio.timeout(5):
        return await sink(event(sink, payload))


async def test_events_go_to_the_least_loaded_node() -> None:
    busy = FakeHost("busy", {"slots": 4, "running": 4, "queue": 20, "inbox": 0})
    free = FakeHost("free")
    async with running(busy, free) as sink:
        receipts = [await receipt_of(sink) for _ in range(8)]

    assert set(receipts) == {Receipt.KEPT}
    assert len(free.posts) == 8
    assert busy.posts == []


async def test_equal_nodes_get_equal_shares() -> None:
    hosts = [FakeHost(name) for name in "abc"]
    async with running(*hosts) as sink:
        await asyncio.gather(*(receipt_of(sink) for _ in range(30)))

    assert [len(host.posts) for host in hosts] == [10, 10, 10]


@pytest.mark.parametrize("status", [0, 404, 429, 503, 401])
async def test_when_a_node_does_not_take_it_another_one_does(status: int) -> None:
    bad, good = FakeHost("bad"), FakeHost("good")
    async with running(bad, good) as sink:
        bad.answer = status
        receipts = [await receipt_of(sink) for _ in range(4)]

    assert set(receipts) == {Receipt.KEPT}
    assert len(good.posts) == 4


async def test_when_no_node_takes_it_it_is_refused_until_one_does() -> None:
    host = FakeHost("only")
    async with running(host) as sink:
        host.answer = 0
        assert await receipt_of(sink) is Receipt.REFUSED
        assert sink.nodes[0].health()["away"]
        host.answer = 202
        await sink.look(sink.nodes[0])
        assert await receipt_of(sink) is Receipt.KEPT


async def test_a_message_that_no_node_may_take_is_left_out_and_counted() -> None:
    host = FakeHost("only")
    host.answer = 413
    async with running(host) as sink:
        assert await receipt_of(sink) is Receipt.UNWANTED

    assert sink.left_out == 1


@pytest.mark.parametrize("told", ["none", [1], {"slots": "many"}, {"slots": 0}])
async def test_a_host_that_tells_no_load_is_used_all_the_same(told: Any) -> None:
    async with running(FakeHost("plain", told)) as sink:
        assert await receipt_of(sink) is Receipt.KEPT


@pytest.mark.broker
async def test_messages_are_acknowledged_once_a_node_has_them(
    broker: Broker, tmp_path: Path
) -> None:
    host = FakeHost("n1")
    host.answer = 503
    text = f"broker: {broker.address}\nentries: [{{topic: 'a/#', action: act}}]"
    bridge = Bridge(parse_map(text), [host], client_id="bridge", folder=tmp_path)
    connected: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(bridge.run(connected.put_nowait))
    async with asyncio.timeout(5):
        line = await connected.get()
        assert line["connected"]
        assert line["topics"] == ["a/#"]
        await asyncio.to_thread(_publish, broker, "a/b", b'{"n": 1}')
        await _until(lambda: bridge.health()["brokers"][0]["refused"] >= 1)
        assert bridge.health()["brokers"][0]["acknowledged"] == 0
        host.answer = 202
        await _until(lambda: bridge.health()["brokers"][0]["acknowledged"] == 1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    ((action, payload),) = host.posts
    assert action == "act"
    assert (payload["topic"], payload["payload"]) == ("a/b", {"n": 1})


def _publish(broker: Broker, topic: str, payload: bytes) -> None:
    paho.mqtt.publish.single(topic, payload, qos=1, port=broker.port)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def entries_of(text: str, folder: Path | None = None) -> Sequence[Entry]:
    return parse_map(text, folder=folder).entries


BY_ROOM = "entries: [{topic: 'a/{room}', action: act, route: {key: room}, down: %s}]"


async def test_the_same_key_stays_on_one_node_and_moves_when_it_is_away() -> None:
    hosts = [FakeHost(name) for name in "abcd"]
    async with running(*hosts, entries=entries_of(BY_ROOM % "another")) as sink:
        for _ in range(3):
            await receipt_of(sink, b'{"room": "hall"}')
        (home,) = [host for host in hosts if host.posts]
        home.answer = 0
        receipt = await receipt_of(sink, b'{"room": "hall"}')

    assert len(home.posts) == 3
    assert receipt is Receipt.KEPT
    assert sum(len(host.posts) for host in hosts) == 4


async def test_a_key_waits_for_its_node_where_that_is_the_policy() -> None:
    hosts = [FakeHost(name) for name in "abcd"]
    async with running(*hosts, entries=entries_of(BY_ROOM % "wait")) as sink:
        await receipt_of(sink, b'{"room": "hall"}')
        (home,) = [host for host in hosts if host.posts]
        home.answer = 0
        assert await receipt_of(sink, b'{"room": "hall"}') is Receipt.REFUSED
        assert await receipt_of(sink, b'{"room": "hall"}') is Receipt.REFUSED

    assert sum(len(host.posts) for host in hosts) == 1


async def test_the_topic_names_the_node() -> None:
    entries = entries_of("entries: [{topic: 'edge/{node}', action: a, route: topic}]")
    hosts = [FakeHost(name) for name in "abc"]
    async with running(*hosts, entries=entries) as sink:
        assert await receipt_of(sink, b'{"node": "b"}') is Receipt.KEPT
        assert await receipt_of(sink, b'{"node": "nobody"}') is Receipt.UNWANTED
        hosts[1].answer = 0
        assert await receipt_of(sink, b'{"node": "b"}') is Receipt.REFUSED

    assert [len(host.posts) for host in hosts] == [0, 1, 0]
    assert sink.left_out == 1


async def test_a_broadcast_reaches_each_node_once_however_often_it_is_offered() -> None:
    entries = entries_of("entries: [{topic: a, action: a, route: broadcast}]")
    hosts = [FakeHost(name) for name in "abc"]
    async with running(*hosts, entries=entries) as sink:
        hosts[2].answer = 503
        one = event(sink)
        assert await sink(one) is Receipt.REFUSED
        hosts[2].answer = 202
        assert await sink(one) is Receipt.KEPT

    assert [len(host.posts) for host in hosts] == [1, 1, 1]
    assert not sink._partial


@pytest.mark.parametrize(
    ("down", "receipt"), [("another", "kept"), ("wait", "refused")]
)
async def test_a_broadcast_goes_without_nodes_that_are_away_or_waits(
    down: str, receipt: str
) -> None:
    text = f"entries: [{{topic: a, action: a, route: broadcast, down: {down}}}]"
    hosts = [FakeHost(name) for name in "ab"]
    hosts[1].answer = 0
    async with running(*hosts, entries=entries_of(text)) as sink:
        assert str(await receipt_of(sink)) == receipt

    assert len(hosts[0].posts) == 1


# --- a bridge of a file --------------------------------------------------------------


class Process:
    """`edgectl bridge run` in this process, on a real agent."""

    def __init__(self, map_file: Path, target: Target, client_id: str) -> None:
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.bridge = BridgeProcess(
            map_file, [target], client_id=client_id, listen=("127.0.0.1", 0)
        )
        self.task = asyncio.create_task(self.bridge.run(self.reports.put_nowait))

    async def connected(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self.reports.get()

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Process]]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    started: list[Process] = []

    def begin(text: str, agent: Agent, name: str = "b") -> Process:
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        target = Target(url=agent.url, key=agent.key, name="n1")
        started.append(Process(file, target, name))
        return started[-1]

    yield begin
    for process in started:
        await process.stop()


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def put_echo(agent: Agent) -> None:
    body = ActionBody(exec=Exec(kind="python:default", code=ECHO))
    async with Client(Target(url=agent.url, key=agent.key)) as client:
        await client.put_action("echo", body)


async def runs_of(agent: Agent) -> int:
    async with Client(Target(url=agent.url, key=agent.key)) as client:
        return await client.count_activations(name="echo")


ECHO = "def main(args):\n    return {'topic': args['topic']}\n"
JOB = """
config = {"chunks": 3}

def args_for_action(index):
    return {"k": index}

def action(params):
    return {"square": params["k"] ** 2}

def reduce(results):
    return sum(result["square"] for result in results)
"""


@pytest.mark.broker
@pytest.mark.sandbox
async def test_a_changed_file_is_followed_and_a_wrong_one_is_not(
    agent: Agent, broker: Broker, tmp_path: Path, start: Callable[..., Process]
) -> None:
    await put_echo(agent)
    text = f"broker: {broker.address}\nentries: [{{topic: %s, action: echo}}]"
    process = start(text % "one", agent)
    report = await process.connected()
    file = tmp_path / "b.yaml"

    await asyncio.to_thread(file.write_text, "entries: 1")
    process.bridge.reload()
    await asyncio.sleep(0.1)
    await asyncio.to_thread(_publish, broker, "one", b"1")
    await _until_true(lambda: runs_of(agent), 1)

    await asyncio.to_thread(file.write_text, text % "two")
    process.bridge.reload()

    async def topics() -> Any:
        health = msgspec.json.decode((await fetch(f"{report['page']}/health"))[1])
        return [s["topic"] for b in health["brokers"] for s in b["subscriptions"]]

    await _until_true(topics, ["two"])
    await asyncio.to_thread(_publish, broker, "one", b"1")
    await asyncio.to_thread(_publish, broker, "two", b"1")
    await _until_true(lambda: runs_of(agent), 2)

    status, metrics = await fetch(f"{report['page']}/metrics")
    assert status == 200
    assert 'edgewhisk_bridge_node_accepted_total{node="n1"} 2' in metrics


@pytest.mark.broker
@pytest.mark.sandbox
async def test_bridges_that_share_take_each_message_once(
    agent: Agent, broker: Broker, start: Callable[..., Process]
) -> None:
    await put_echo(agent)
    text = (
        f"broker: {broker.address}\nshare: hall\n"
        "entries: [{topic: 'a/{room}', action: echo}]"
    )
    reports = [await start(text, agent, name).connected() for name in ("b1", "b2")]
    for number in range(10):
        await asyncio.to_thread(_publish, broker, f"a/{number}", b"1")

    await _until_true(lambda: runs_of(agent), 10)

    healths = [
        msgspec.json.decode((await fetch(f"{one['page']}/health"))[1])
        for one in reports
    ]
    assert sum(one["nodes"][0]["accepted"] for one in healths) == 10
    assert all(one["nodes"][0]["accepted"] for one in healths)


@pytest.mark.broker
@pytest.mark.sandbox
async def test_a_message_starts_a_run_whose_result_goes_to_a_topic(
    agent: Agent, broker: Broker, tmp_path: Path, start: Callable[..., Process]
) -> None:
    (tmp_path / "squares.py").write_text(JOB)
    text = (
        f"broker: {broker.address}\n"
        "entries: [{topic: jobs, job: squares.py, result: 'done/{run}'}]"
    )
    process = start(text, agent)
    await process.connected()
    heard = await asyncio.to_thread(Listener, broker, "done/#")
    await asyncio.to_thread(_publish, broker, "jobs", b"")
    await asyncio.to_thread(_publish, broker, "jobs", b'{"nonsense": 1}')

    await _until(lambda: len(heard.payloads) == 2)
    heard.close()

    results = [one.get("result") for one in heard.payloads]
    (error,) = [one["error"] for one in heard.payloads if "error" in one]
    assert 5 in results
    assert "nonsense" in error
    folder = tmp_path / "data" / "edgewhisk" / "bridge" / "b"
    await _until(lambda: not list(folder.iterdir()))


async def test_a_run_that_was_not_ended_is_begun_again_but_not_for_ever(
    agent: Agent, tmp_path: Path
) -> None:
    job = tmp_path / "squares.py"
    job.write_text(JOB)
    for run, begun in (("one", 1), ("bad", 3)):
        request = {
            "run": run,
            "entry": "bridge/x",
            "job": str(job),
            "settings": {},
            "result": "done",
            "received_ms": 1,
            "begun": begun,
        }
        (tmp_path / "runs" / run).mkdir(parents=True)
        file = tmp_path / "runs" / run / "request.json"
        file.write_bytes(msgspec.json.encode(request))
    published: list[Any] = []

    async def publish(outgoing: Outgoing) -> None:
        published.append(msgspec.json.decode(outgoing.payload))

    target = Target(url=agent.url, key=agent.key, name="n1")
    desk = JobDesk(tmp_path / "runs", [target], publish=publish)
    task = asyncio.create_task(desk.run())
    await _until(lambda: len(published) == 2)
    await _until(lambda: not list((tmp_path / "runs").iterdir()))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert {one.get("result") for one in published} == {5, None}
    assert "too often" in str(published)


class Listener:
    def __init__(self, broker: Broker, topic: str) -> None:
        self.payloads: list[Any] = []
        subscribed = threading.Event()
        self._client = paho.mqtt.client.Client(
            paho.mqtt.enums.CallbackAPIVersion.VERSION2
        )
        self._client.on_message = lambda _c, _d, message: self.payloads.append(
            msgspec.json.decode(message.payload)
        )
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._client.subscribe(topic, 1)
        assert subscribed.wait(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def _until_true(read: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    async with asyncio.timeout(10):
        while await read() != wanted:
            await asyncio.sleep(0.02)


class Killable:
    """`edgectl bridge run` as a process of its own."""

    def __init__(self, map_file: Path, agent: Agent) -> None:
        command = [sys.executable, "-m", "controller", "bridge", "run", "--print-json"]
        command += ["--map", str(map_file), "--client-id", "killable"]
        command += ["--target", agent.url, "--auth", agent.key]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.report = msgspec.json.decode(self.process.stdout.readline())

    def end(self, sent: signal.Signals) -> int:
        self.process.send_signal(sent)
        code = self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.broker
@pytest.mark.sandbox
async def test_a_bridge_that_is_killed_loses_no_message(
    agent: Agent, broker: Broker, tmp_path: Path
) -> None:
    await put_echo(agent)
    file = tmp_path / "map.yaml"
    text = f"broker: {broker.address}\nentries: [{{topic: 'a/#', action: echo}}]"
    await asyncio.to_thread(file.write_text, text)
    bridge = await asyncio.to_thread(Killable, file, agent)
    try:
        assert bridge.report["connected"]
        messages = [(f"a/{number}", b"1", 1, False) for number in range(300)]
        sending = asyncio.create_task(
            asyncio.to_thread(paho.mqtt.publish.multiple, messages, port=broker.port)
        )
        async with asyncio.timeout(10):
            while await runs_of(agent) < 50:
                await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(bridge.end, signal.SIGKILL)
    bridge = await asyncio.to_thread(Killable, file, agent)
    try:
        await sending
        await _until_true(lambda: topics_of(agent), {one[0] for one in messages})
    finally:
        code = await asyncio.to_thread(bridge.end, signal.SIGTERM)
    assert code == 0


async def topics_of(agent: Agent) -> set[str]:
    """What `echo` was run with."""
    async with Client(Target(url=agent.url, key=agent.key)) as client:
        summaries = [
            one
            for skip in (0, 200, 400)
            for one in await client.list_activations(name="echo", skip=skip, limit=200)
        ]
        records = await asyncio.gather(
            *(client.get_activation(one.activation_id) for one in summaries)
        )
    results = [msgspec.json.decode(one.response.result) for one in records]
    return {one["topic"] for one in results}
