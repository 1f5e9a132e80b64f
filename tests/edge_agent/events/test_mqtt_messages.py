"""What a subscription's parameters make of messages, against a real mosquitto."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.events.base import Event, Outgoing, Receipt
from edge_agent.events.fake import FakeSink, FakeState

if TYPE_CHECKING:
    from edge_agent.events.mqtt import MqttSource
    from tests.conftest import Broker, BrokerFactory
    from tests.edge_agent.events.conftest import Ground

pytestmark = pytest.mark.broker


class Case:
    """One subscription of the trigger `t`, and a client that publishes."""

    def __init__(self, ground: Ground, broker: Broker, version: int = 5) -> None:
        self.ground = ground
        self.broker = broker
        self.version = version
        self.sink = FakeSink()
        self.state = FakeState()
        self.outsider = ground.outsider(broker.address, version)
        self.source: MqttSource | None = None

    async def want(self, topic: str, **parameters: Any) -> None:
        """As `CREATE` does."""
        if self.source is None:
            self.source = self.ground.start(self.sink, self.broker.address, self.state)
        given = {"version": self.version, **parameters}
        subscription = self.ground.wants("t", topic, **given)
        await self.state.save(subscription)
        self.source.subscribe(subscription)
        await self.ground.up(self.source)

    async def again(self) -> None:
        """Stop the source and start one on the same state."""
        assert self.source is not None
        await self.ground.stop(self.source)
        self.source = self.ground.start(self.sink, self.broker.address, self.state)
        await self.ground.up(self.source)

    @property
    def counts(self) -> dict[str, Any]:
        assert self.source is not None
        return self.source.status("guest/t")

    @property
    def payloads(self) -> list[Any]:
        return [msgspec.json.decode(event.payload) for event in self.sink.events]

    async def until_acknowledged(self, count: int) -> None:
        assert self.source is not None
        source = self.source
        await self.ground.until(
            lambda: source.health()["brokers"][0]["acknowledged"] >= count
        )


@pytest.fixture(params=[5, 4], ids=["5", "3.1.1"])
def case(request: pytest.FixtureRequest, ground: Ground, broker: Broker) -> Case:
    return Case(ground, broker, request.param)


async def test_levels_of_the_topic_become_parameters(case: Case) -> None:
    await case.want("sensors/{room}/{kind}/#")
    case.outsider.publish("sensors/hall/temp/raw", "1")

    await case.sink.wait_for(1)

    assert case.payloads[0]["room"] == "hall"
    assert case.payloads[0]["kind"] == "temp"
    assert case.payloads[0]["topic"] == "sensors/hall/temp/raw"


async def test_what_a_filter_leaves_out_is_acknowledged_and_counted(case: Case) -> None:
    await case.want("{room}", filter="payload.c > `20` && room != 'attic'")
    for room, c in (("hall", 21), ("hall", 19), ("attic", 30), ("bath", 25)):
        case.outsider.publish(room, {"c": c})
    case.outsider.publish("hall", "no number")

    await case.until_acknowledged(5)

    assert [(one["room"], one["payload"]["c"]) for one in case.payloads] == [
        ("hall", 21),
        ("bath", 25),
    ]
    assert case.counts["filtered"] == 3


async def test_a_projection_takes_the_place_of_the_payload(case: Case) -> None:
    await case.want("a", projection="{c: payload.values[0].c, topic: topic}")
    case.outsider.publish("a", {"values": [{"c": 1}, {"c": 2}]})

    await case.sink.wait_for(1)

    assert case.payloads[0]["payload"] == {"c": 1, "topic": "a"}
    assert case.payloads[0]["encoding"] == "json"


async def test_an_expression_that_does_not_fit_counts_as_malformed(case: Case) -> None:
    await case.want("a", projection="sum(payload)")
    case.outsider.publish("a", '"text"')
    case.outsider.publish("a", "[1, 2]")

    await case.sink.wait_for(1)

    assert case.payloads[0]["payload"] == 3
    assert case.counts["malformed"] == 1


async def test_a_throttle_lets_one_message_of_each_topic_through(case: Case) -> None:
    await case.want("a/+", throttle=60_000)
    for number in range(10):
        case.outsider.publish(f"a/{number % 2}", str(number))

    await case.until_acknowledged(10)

    assert [one["payload"] for one in case.payloads] == [0, 1]
    assert case.counts["throttled"] == 8


async def test_a_debounce_fires_the_last_message_when_it_is_quiet(case: Case) -> None:
    await case.want("a/+", debounce=150)
    for number in range(10):
        case.outsider.publish(f"a/{number % 2}", str(number))
    assert case.payloads == []

    await case.sink.wait_for(2)
    await case.until_acknowledged(10)

    assert sorted(one["payload"] for one in case.payloads) == [8, 9]
    assert case.counts["debounced"] == 8


async def test_a_batch_fires_once_for_many(case: Case) -> None:
    await case.want("a", batch={"size": 4, "ms": 100})
    for number in range(10):
        case.outsider.publish("a", str(number))

    await case.sink.wait_for(3)
    await case.until_acknowledged(10)

    batches = [[m["payload"] for m in one["messages"]] for one in case.payloads]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_batch_that_nobody_keeps_is_sent_again(case: Case) -> None:
    case.sink.answer = Receipt.REFUSED
    await case.want("a", batch={"size": 3, "ms": 60_000})
    for number in range(3):
        case.outsider.publish("a", str(number))
    await case.sink.wait_for(1)
    assert case.counts["acknowledged"] == 0
    case.sink.answer = Receipt.KEPT
    case.sink.events.clear()

    await case.again()
    await case.sink.wait_for(1)

    assert [m["payload"] for m in case.payloads[0]["messages"]] == [0, 1, 2]


async def test_what_waits_for_its_time_is_not_acknowledged(case: Case) -> None:
    await case.want("a", debounce=60_000)
    case.outsider.publish("a", "1")
    assert case.source is not None
    source = case.source
    await case.ground.until(lambda: source.health()["brokers"][0]["paced"] == 1)

    await case.want("a")  # the user has changed it
    case.outsider.publish("a", "2")
    await case.sink.wait_for(1)

    assert [one["payload"] for one in case.payloads] == [2]


async def test_a_key_goes_along_to_be_seen_once(case: Case) -> None:
    await case.want("a", dedup={"key": "payload.id", "window_ms": 5000})
    case.outsider.publish("a", {"id": 7})
    case.outsider.publish("a", {"no": "id"})
    case.outsider.publish("a", {"id": "x" * 500})

    events = await case.sink.wait_for(3)

    assert events[0].dedup == ("7", 5000)
    assert events[1].dedup is None
    assert events[2].dedup is not None
    assert len(events[2].dedup[0]) == 64


# --- what the broker has retained ----------------------------------------------------


@pytest.mark.parametrize(
    ("retained", "first", "after"),
    [("first", 1, 1), ("all", 1, 2), ("ignore", 0, 0)],
)
async def test_retained_messages(
    case: Case, retained: str, first: int, after: int
) -> None:
    case.outsider.publish("a/b", "1", retain=True)
    await case.want("a/#", retained=retained)
    case.outsider.publish("a/c", "2")
    await case.sink.wait_for(first + 1)
    assert len(case.sink.events) == first + 1

    case.sink.events.clear()
    await case.again()
    case.outsider.publish("a/c", "3")

    expected = after - first if case.version == 4 or retained != "all" else None
    await case.ground.until(lambda: any(one["payload"] == 3 for one in case.payloads))
    if expected is not None:
        assert len(case.sink.events) == expected + 1


async def test_another_trigger_of_the_filter_sees_what_is_retained_by_itself(
    broker: Broker, ground: Ground
) -> None:
    outsider = ground.outsider(broker.address)
    outsider.publish("a", "1", retain=True)
    sink = FakeSink()
    source = ground.start(sink, broker.address, FakeState())
    for name in ("one", "two"):
        source.subscribe(ground.wants(name, "a"))
        await ground.up(source)
    outsider.publish("a", "2")

    events = await sink.wait_for(4)

    fired = [
        (one.subscription, msgspec.json.decode(one.payload)["payload"])
        for one in events
    ]
    assert sorted(fired) == [
        ("guest/one", 1),
        ("guest/one", 2),
        ("guest/two", 1),
        ("guest/two", 2),
    ]


# --- requests and answers -----------------------------------------------------------


async def test_a_request_says_where_its_answer_is_wanted(
    broker: Broker, ground: Ground
) -> None:
    case = Case(ground, broker)
    await case.want("a")
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/1"
    properties.CorrelationData = b"\x00\x01"
    case.outsider.publish("a", "1", properties=properties)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "$SYS/no"
    case.outsider.publish("a", "2", properties=properties)

    first, second = await case.sink.wait_for(2)

    assert first.reply is not None
    assert (first.reply.topic, first.reply.correlation) == ("answers/1", b"\x00\x01")
    assert first.reply.via == "guest/t"
    assert second.reply is None


async def test_an_answer_takes_its_correlation_data_along(
    broker: Broker, ground: Ground
) -> None:
    case = Case(ground, broker)
    await case.want("a")
    await case.outsider.listen("answers/#")
    one = Outgoing(
        id="1",
        namespace="guest",
        topic="answers/1",
        payload=b"{}",
        correlation=b"\x00\x01",
        via="guest/t",
    )
    case.state.outgoing["1"] = one
    assert case.source is not None
    case.source.publish(one)

    await ground.until(lambda: case.outsider.heard)

    assert case.outsider.properties[0].CorrelationData == b"\x00\x01"
    await ground.until(lambda: not case.state.outgoing)


# --- brokers that come and go ----------------------------------------------------------


async def test_the_next_broker_is_used_while_the_first_is_away(
    broker_factory: BrokerFactory, ground: Ground
) -> None:
    first, second = broker_factory(), broker_factory()
    sink = FakeSink()
    brokers = f"{first.address},{second.address}"
    source = ground.start(sink, brokers, ground.state(t="a"))
    await ground.up(source)
    assert source.health()["brokers"][0]["at"] == first.address
    first.stop()

    await ground.until(lambda: source.health()["brokers"][0]["at"] == second.address)
    await ground.up(source)
    ground.outsider(second.address).publish("a", "2")
    await sink.wait_for(1)

    first.start()
    second.stop()
    await ground.until(lambda: source.health()["brokers"][0]["at"] == first.address)
    await ground.up(source)
    ground.outsider(first.address).publish("a", "1")
    await sink.wait_for(2)


async def test_a_filter_forgotten_while_its_broker_was_down_is_unsubscribed_later(
    broker: Broker, ground: Ground
) -> None:
    case = Case(ground, broker)
    await case.want("gone/#", version="auto")
    assert case.source is not None
    source = case.source
    source.subscribe(case.ground.wants("stays", "b"))
    await case.state.save(case.ground.wants("stays", "b"))
    await ground.up(source)
    broker.stop()
    await ground.until(lambda: not source.ready)
    source.unsubscribe("guest/t")
    await case.state.forget("guest/t")
    await ground.stop(source)  # and the node restarts
    assert case.state.note("mqtt leftovers") is not None

    broker.start()
    case.source = ground.start(case.sink, broker.address, case.state)
    await ground.up(case.source)
    await ground.until(lambda: case.state.note("mqtt leftovers") is None)
    outsider = ground.outsider(broker.address)
    outsider.publish("gone/a", "1")
    outsider.publish("b", "2")
    await case.sink.wait_for(1)

    assert case.source.health()["brokers"][0]["received"] == 1


async def test_the_will_is_published_when_the_node_is_lost(
    broker: Broker, ground: Ground
) -> None:
    outsider = ground.outsider(broker.address)
    await outsider.listen("nodes/#")
    will = {"topic": "nodes/attic", "payload": {"up": False}, "qos": 1}
    case = Case(ground, broker)
    await case.want("a", will=will, keepalive_s=1)
    assert case.source is not None
    (connection,) = case.source._connections
    assert connection._session is not None

    connection._session._client._connected.shutdown(socket.SHUT_RDWR)

    await ground.until(lambda: ("nodes/attic", b'{"up":false}') in outsider.heard)


async def test_what_the_broker_has_dropped_is_told(
    broker_factory: BrokerFactory, ground: Ground
) -> None:
    broker = broker_factory("max_queued_messages 5", "sys_interval 1")
    case = Case(ground, broker)
    await case.want("a")
    assert case.source is not None
    await ground.stop(case.source)
    for number in range(30):  # 5 of them are kept for us
        case.outsider.publish("a", str(number))

    source = case.source = ground.start(case.sink, broker.address, case.state)

    await ground.until(
        lambda: (source.health()["brokers"] or [{}])[0].get("dropped_by_broker"),
        timeout_s=8,
    )
    assert source.health()["brokers"][0]["dropped_by_broker"] >= 20


# --- lanes -----------------------------------------------------------------------------


class Picky(FakeSink):
    """Refuses one subscription."""

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        refused = event.subscription == self.refused
        self.answer = Receipt.REFUSED if refused else Receipt.KEPT
        return super().__call__(event)


async def test_a_trigger_that_is_full_does_not_starve_the_others(
    broker: Broker, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.events.connection.STUCK_S", 0.2)
    sink = Picky("guest/full")
    state = ground.state(full="full/#", other="other/#")
    source = ground.start(sink, broker.address, state, receive_maximum=10)
    await ground.up(source)
    outsider = ground.outsider(broker.address)
    for number in range(40):
        outsider.publish("full/a", str(number))
    outsider.publish("other/a", "1")  # behind them in the broker's queue

    await ground.until(lambda: len(source.health()["brokers"]) == 2)
    await ground.up(source)
    outsider.publish("other/a", "2")

    def heard(name: str) -> list[int]:
        return [
            msgspec.json.decode(event.payload)["payload"]
            for event in sink.events
            if event.subscription == name
        ]

    await ground.until(lambda: 2 in heard("guest/other"))
    sink.refused = ""
    await ground.until(lambda: 1 in heard("guest/other"))
    await ground.until(lambda: set(heard("guest/full")) == set(range(40)))

    # After a restart it is on its own connection still.
    await ground.stop(source)
    outsider.publish("other/a", "3")
    source = ground.start(sink, broker.address, state, receive_maximum=10)
    await ground.up(source)
    await ground.until(lambda: 3 in heard("guest/other"))
    assert heard("guest/other").count(3) == 1


async def test_filters_that_overlap_in_part_fire_once_on_3_1_1(
    broker: Broker, ground: Ground
) -> None:
    state = FakeState(
        [
            ground.wants("one", "a/+", version="3.1.1"),
            ground.wants("two", "+/b", version="3.1.1"),
        ]
    )
    sink = FakeSink()
    source = ground.start(sink, broker.address, state)
    await ground.up(source)
    await ground.until(lambda: len(source.health()["brokers"]) == 2)
    await ground.up(source)
    ground.outsider(broker.address).publish("a/b", "1")

    events = await sink.wait_for(2)
    await asyncio.sleep(0.05)

    assert sorted(event.subscription for event in events) == ["guest/one", "guest/two"]
