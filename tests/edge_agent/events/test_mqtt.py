"""The source against a real mosquitto."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edge_agent.events.base import Outgoing, Receipt
from edge_agent.events.fake import FakeSink, FakeState
from edge_agent.events.mqtt import MqttSource

if TYPE_CHECKING:
    from tests.conftest import Broker, BrokerFactory
    from tests.edge_agent.events.conftest import Ground

pytestmark = pytest.mark.broker

#: Where distributions keep mosquitto's plugins.
PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/mosquitto")


def failing(source: MqttSource) -> bool:
    return any(one["error"] for one in source.health()["brokers"])


@pytest.fixture
def only_open(tmp_path: Path) -> tuple[str, ...]:
    """Configuration of a broker that lets nobody subscribe outside of `open/`."""
    name = "mosquitto_dynamic_security.so"
    places = [f"{name}", f"*-linux-gnu*/{name}"]
    found = [p for one in PLUGIN_FOLDERS for at in places for p in Path(one).glob(at)]
    if not found:
        pytest.skip(f"this mosquitto has no {name}")
    acl = {"acltype": "subscribePattern", "topic": "open/#", "allow": True}
    rules = {
        "defaultACLAccess": {
            "publishClientSend": True,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "anonymousGroup": "all",
        "groups": [{"groupname": "all", "roles": [{"rolename": "open"}]}],
        "roles": [{"rolename": "open", "acls": [acl]}],
        "clients": [],
    }
    file = tmp_path / "rules.json"
    file.write_bytes(msgspec.json.encode(rules))
    file.chmod(0o600)
    return f"plugin {found[0]}", f"plugin_opt_config_file {file}"


async def test_a_message_becomes_an_event_with_the_documented_payload(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink()
    source = ground.start(
        sink,
        broker.address,
        ground.state(t="sensors/+/temp"),
    )
    await ground.up(source)
    ground.outsider(broker.address).publish("sensors/kitchen/temp", {"c": 21.5})

    (event,) = await sink.wait_for(1)

    assert event.subscription == "guest/t"
    assert event.origin == "mqtt:sensors/kitchen/temp"
    payload = msgspec.json.decode(event.payload)
    assert payload.pop("received") > 1_700_000_000_000
    assert payload == {
        "topic": "sensors/kitchen/temp",
        "payload": {"c": 21.5},
        "encoding": "json",
        "qos": 1,
        "retain": False,
        "properties": {},
    }


async def test_what_was_not_kept_is_sent_again_to_the_next_life(
    broker: Broker, ground: Ground
) -> None:
    state = ground.state(t="a/#")
    silent = FakeSink(None)
    source = ground.start(silent, broker.address, state)
    await ground.up(source)
    client = ground.outsider(broker.address)
    for number in range(5):
        client.publish("a/b", {"n": number})
    await silent.wait_for(5)
    silent.settle(Receipt.KEPT, most=2)
    await ground.stop(source)

    sink = FakeSink()
    ground.start(sink, broker.address, state)

    events = await sink.wait_for(3)
    assert [msgspec.json.decode(e.payload)["payload"]["n"] for e in events] == [2, 3, 4]


async def test_a_broker_that_is_down_at_the_start_is_found_when_it_comes(
    broker_factory: BrokerFactory, ground: Ground
) -> None:
    broker = broker_factory(start=False)
    sink = FakeSink()
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.until(lambda: failing(source))
    (health,) = source.health()["brokers"]
    assert health["state"] in ("waiting", "connecting")
    assert health["error"] == "cannot connect: Connection refused"

    broker.start()
    await ground.up(source)
    ground.outsider(broker.address).publish("a", "1")

    await sink.wait_for(1)
    assert source.health()["brokers"][0]["error"] is None


async def test_a_broker_that_restarts_is_subscribed_again_and_nothing_is_lost(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink()
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.up(source)
    broker.stop()
    broker.start()
    ground.outsider(broker.address).publish("a", "1")  # perhaps before we are back
    await ground.up(source)
    ground.outsider(broker.address).publish("a", "2")

    events = await sink.wait_for(2)
    assert [msgspec.json.decode(e.payload)["payload"] for e in events] == [1, 2]


async def test_overlapping_filters_fire_each_trigger_once(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink()
    state = ground.state(all="a/#", one="a/+", b="+/b", also_all="a/#", other="c")
    source = ground.start(sink, broker.address, state)
    await ground.up(source)
    ground.outsider(broker.address).publish("a/b", "1")
    ground.outsider(broker.address).publish("c", "1")

    events = await sink.wait_for(5)

    fired = sorted(event.subscription for event in events)
    assert fired == [
        "guest/all",
        "guest/also_all",
        "guest/b",
        "guest/one",
        "guest/other",
    ]
    await ground.until(lambda: source.health()["brokers"][0]["acknowledged"] >= 4)


async def test_refused_messages_wait_and_are_offered_again_in_order(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink(Receipt.REFUSED)
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.up(source)
    client = ground.outsider(broker.address)
    for number in range(10):
        client.publish("a", str(number))
    await ground.until(lambda: source.health()["brokers"][0]["held"] == 10)
    assert source.health()["brokers"][0]["acknowledged"] == 0

    sink.events.clear()
    sink.answer = Receipt.KEPT

    await ground.until(lambda: source.health()["brokers"][0]["acknowledged"] == 10)
    payloads = [msgspec.json.decode(e.payload)["payload"] for e in sink.events]
    assert payloads == list(range(10))
    assert source.health()["brokers"][0]["held"] == 0


async def test_a_subscription_that_the_broker_refuses_is_shown(
    broker_factory: BrokerFactory, ground: Ground, only_open: tuple[str, ...]
) -> None:
    broker = broker_factory(*only_open)
    state = ground.state(no="closed/a", yes="open/a")
    source = ground.start(FakeSink(), broker.address, state)

    await ground.up(source)

    assert source.status("guest/no")["refusal"] == "Not authorized"
    assert source.status("guest/no")["granted"] is None
    assert source.status("guest/yes")["granted"] == 1


async def test_what_the_outbox_has_is_published_at_the_start_and_deleted(
    broker: Broker, ground: Ground
) -> None:
    client = ground.outsider(broker.address)
    await client.listen("out/#")
    state = FakeState(
        outbox=[
            Outgoing(id=str(n), namespace="guest", topic=f"out/{n}", payload=b"{}")
            for n in range(50)
        ]
    )

    ground.start(FakeSink(), broker.address, state)

    await ground.until(lambda: not state.outgoing)
    await ground.until(lambda: len(client.heard) == 50)


async def test_a_result_is_kept_until_its_broker_is_there(
    broker_factory: BrokerFactory, ground: Ground
) -> None:
    broker = broker_factory(start=False)
    state = FakeState()
    source = ground.start(FakeSink(), broker.address, state)
    one = Outgoing(id="1", namespace="guest", topic="out", payload=b"1", retain=True)
    state.outgoing["1"] = one
    source.publish(one)
    await ground.until(lambda: failing(source))
    assert state.outgoing

    broker.start()

    await ground.until(lambda: not state.outgoing)
    client = ground.outsider(broker.address)
    await client.listen("out")
    await ground.until(lambda: client.heard == [("out", b"1")])
