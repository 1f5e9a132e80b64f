"""From a topic to a node of the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.publish
import pytest

from controller.bridge import Bridge, FleetSink
from controller.bridge_map import parse_map
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError
from edge_agent.events.base import Event, Receipt

if TYPE_CHECKING:
    from tests.conftest import Broker


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
async def running(*hosts: FakeHost) -> AsyncIterator[FleetSink]:
    sink = FleetSink(hosts, ENTRIES)
    for node in sink.nodes:
        await sink.look(node)
    task = asyncio.create_task(sink.run())
    yield sink
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def event(payload: bytes = b"{}") -> Event:
    return Event(subscription=ENTRIES[0].id, payload=payload, origin="mqtt:a/b")


async def receipt_of(sink: FleetSink, payload: bytes = b"{}") -> Receipt:
    async with asyncio.timeout(5):
        return await sink(event(payload))


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
async def test_messages_are_acknowledged_once_a_node_has_them(broker: Broker) -> None:
    host = FakeHost("n1")
    host.answer = 503
    text = f"broker: {broker.address}\nentries: [{{topic: 'a/#', action: act}}]"
    bridge = Bridge(parse_map(text), [host], client_id="bridge")
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
