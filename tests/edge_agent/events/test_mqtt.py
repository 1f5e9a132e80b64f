"""The source against a real mosquitto."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from controller.local_broker import accepts, amqtt_configuration, free_port
from edge_agent.events.base import Event, Outgoing, Receipt
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


async def test_a_refused_subscription_is_asked_for_again(
    broker_factory: BrokerFactory,
    ground: Ground,
    only_open: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("edge_agent.events.session.REFUSED_AGAIN_S", 0.1)
    broker = broker_factory(*only_open)
    state = ground.state(no="closed/a", yes="open/a")
    ground.start(FakeSink(), broker.address, state, keepalive_s=1)

    await ground.until(lambda: caplog.text.count("refused to subscribe closed/a") > 1)

    assert "open/a" not in caplog.text


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


async def test_results_that_find_no_room_stay_in_the_outbox_until_there_is(
    broker_factory: BrokerFactory, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.events.outlet.MOST_WAITING", 5)
    monkeypatch.setattr("edge_agent.events.publisher.MOST_WAITING", 5)
    broker = broker_factory(start=False)
    state = FakeState()
    source = ground.start(FakeSink(), broker.address, state)
    await ground.until(lambda: source.ready)
    for number in range(20):
        one = Outgoing(id=str(number), namespace="g", topic="out", payload=b"", qos=1)
        state.outgoing[one.id] = one
        source.publish(one)
    assert source.health()["brokers"][0]["waiting"] == 5

    broker.start()

    await ground.until(lambda: not state.outgoing)


async def test_a_result_at_qos_0_is_out_at_once(broker: Broker, ground: Ground) -> None:
    state = FakeState()
    source = ground.start(FakeSink(), broker.address, state)
    one = Outgoing(id="1", namespace="g", topic="out", payload=b"", qos=0)
    state.outgoing["1"] = one
    source.publish(one)

    await ground.until(lambda: not state.outgoing)
    assert source._publisher.queued == 0


async def test_a_share_takes_each_message_once(broker: Broker, ground: Ground) -> None:
    sinks = FakeSink(), FakeSink()
    for number, sink in enumerate(sinks):
        state = ground.state(t="$share/pool/a/#")
        name = f"node{number}"
        await ground.up(ground.start(sink, broker.address, state, client_id=name))
    outsider = ground.outsider(broker.address)
    for number in range(20):
        outsider.publish(f"a/{number}", "1")

    await ground.until(lambda: sum(len(sink.events) for sink in sinks) == 20)
    topics = {event.origin for sink in sinks for event in sink.events}
    assert len(topics) == 20


@pytest.mark.slow
async def test_a_broker_that_hangs_is_noticed(broker: Broker, ground: Ground) -> None:
    state = ground.state(t="a")
    source = ground.start(FakeSink(), broker.address, state, keepalive_s=1)
    await ground.up(source)
    await asyncio.sleep(2.5)  # pings keep it up
    assert source.ready
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        await ground.until(lambda: failing(source))
    finally:
        broker.process.send_signal(signal.SIGCONT)

    await ground.until(lambda: source.ready, timeout_s=10)


async def test_a_fault_in_the_sink_costs_a_connection_and_no_message(
    broker: Broker, ground: Ground
) -> None:
    class Faulty(FakeSink):
        def __call__(self, event: Event) -> asyncio.Future[Receipt]:
            future = super().__call__(event)
            if len(self.events) == 1:
                raise RuntimeError("a fault")
            return future

    sink = Faulty()
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.up(source)
    outsider = ground.outsider(broker.address)
    outsider.publish("a", "1")
    outsider.publish("a", "2")

    events = await sink.wait_for(3)
    payloads = [msgspec.json.decode(one.payload)["payload"] for one in events]
    assert payloads == [1, 1, 2]


async def test_a_connection_that_nobody_needs_is_given_up_and_made_again(
    broker: Broker, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.events.connection.IDLE_S", 0.2)
    source = ground.start(FakeSink(), broker.address, keepalive_s=1)
    one = Outgoing(id="1", namespace="guest", topic="out", payload=b"")
    await source.send(one)
    assert len(source.health()["brokers"]) == 1

    await ground.until(lambda: not source.health()["brokers"])

    await source.send(one)


async def test_without_mqtt_paho_is_not_loaded() -> None:
    code = "import sys, edge_agent.events.mqtt; sys.exit('paho' in sys.modules)"
    command = [sys.executable, "-c", code]

    assert subprocess.run(command, check=False).returncode == 0


async def test_a_broker_that_is_killed_costs_repeats_and_no_messages(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink()
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.up(source)
    broker.kill()
    await ground.until(lambda: failing(source))
    broker.start()  # it knows nothing of us any more
    await ground.up(source)
    ground.outsider(broker.address).publish("a", "1")

    await sink.wait_for(1)


async def test_a_receipt_of_the_last_connection_is_not_given_on_the_next(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink(None)
    source = ground.start(sink, broker.address, ground.state(t="a"))
    await ground.up(source)
    ground.outsider(broker.address).publish("a", "1")
    await sink.wait_for(1)
    broker.stop()
    await ground.until(lambda: failing(source))
    sink.settle(Receipt.KEPT)
    broker.start()

    await sink.wait_for(2)  # it is sent again

    assert source.health()["brokers"][0]["acknowledged"] == 0
    sink.settle(Receipt.KEPT)
    await ground.until(lambda: source.health()["brokers"][0]["acknowledged"] == 1)


async def test_no_more_than_the_receive_maximum_is_unacknowledged(
    broker: Broker, ground: Ground
) -> None:
    sink = FakeSink(None)
    state = ground.state(t="a")
    source = ground.start(sink, broker.address, state, receive_maximum=7)
    await ground.up(source)
    outsider = ground.outsider(broker.address)
    for number in range(15):
        outsider.publish("a", str(number))
    await sink.wait_for(7)
    await asyncio.sleep(0.1)
    assert len(sink.events) == 7

    sink.settle(Receipt.KEPT)
    await sink.wait_for(14)
    sink.settle(Receipt.KEPT)
    await sink.wait_for(15)


async def test_a_large_message_arrives_whole(broker: Broker, ground: Ground) -> None:
    sink = FakeSink()
    source = ground.start(sink, broker.address, ground.state(t="big"))
    await ground.up(source)
    ground.outsider(broker.address).publish("big", {"x": "y" * 3_000_000})

    (event,) = await sink.wait_for(1)

    assert len(event.payload) > 3_000_000


async def test_credentials_make_a_connection_of_their_own(
    broker_factory: BrokerFactory, ground: Ground, tmp_path: Path
) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("this mosquitto has no mosquitto_passwd")
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", passwords, "ann", "right"], check=True)
    broker = broker_factory("allow_anonymous false", f"password_file {passwords}")
    good = ground.wants("good", "a", username="ann", password="right")
    bad = ground.wants("bad", "a", username="ann", password="wrong")
    source = ground.start(FakeSink(), broker.address, FakeState([good, bad]))

    await ground.until(lambda: source.status("guest/good").get("granted") == 1)
    await ground.until(lambda: source.status("guest/bad").get("error"))

    assert source.status("guest/bad")["error"] == (
        "the broker refused the connection: Not authorized"
    )
    assert "wrong" not in str(source.health())


async def test_a_subscription_that_cannot_be_read_is_shown_and_stops_nothing(
    broker: Broker, ground: Ground
) -> None:
    bad = ground.wants("bad", "a/#/b")
    state = FakeState([bad, ground.wants("good", "a")])
    source = ground.start(FakeSink(), broker.address, state)
    await ground.up(source)

    assert source.status("guest/good")["granted"] == 1
    assert source.status("guest/bad")["state"] == "unusable"
    (unusable,) = source.health()["unusable"]
    assert unusable["id"] == "guest/bad"


async def test_two_clients_with_one_id_are_told(broker: Broker, ground: Ground) -> None:
    first = ground.start(FakeSink(), broker.address, ground.state(t="a"))
    await ground.up(first)
    second = ground.start(FakeSink(), broker.address, ground.state(t="a"))

    await ground.until(lambda: failing(first) or failing(second))

    errors = [one.health()["brokers"][0]["error"] for one in (first, second)]
    (identity,) = {"test-" + one.identity.digest for one in first._connections}
    assert any(f"another client {identity}?" in (error or "") for error in errors)


@pytest.fixture
def old_broker(tmp_path: Path) -> Iterator[str]:
    """amqtt: it speaks 3.1.1 and refuses 5."""
    port = free_port()
    file = tmp_path / "amqtt.yaml"
    file.write_text(amqtt_configuration(port))
    command = [sys.executable, "-P", "-m", "amqtt.scripts.broker_script"]
    process = subprocess.Popen(
        [*command, "-c", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert accepts(port, timeout_s=15)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    old_broker: str, ground: Ground
) -> None:
    sink = FakeSink()
    state = ground.state(all="a/#", one="a/+", exact="a/b", other="c")
    source = ground.start(sink, old_broker, state)
    await ground.up(source)
    assert source.health()["brokers"][0]["protocol"] == "3.1.1"
    assert source.status("guest/one")["granted"] == 1
    outsider = ground.outsider(old_broker, 4)
    await outsider.listen("out")

    outsider.publish("a/b", "1")
    events = await sink.wait_for(3)
    await source.send(Outgoing(id="1", namespace="guest", topic="out", payload=b"x"))

    fired = sorted(event.subscription for event in events)
    assert fired == ["guest/all", "guest/exact", "guest/one"]
    await ground.until(lambda: outsider.heard == [("out", b"x")])
