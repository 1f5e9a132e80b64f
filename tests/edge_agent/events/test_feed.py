"""The package `/whisk.system/mqtt` as an action calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge_agent.events.base import BuiltinError
from edge_agent.events.fake import FakeSink, FakeState
from edge_agent.events.feed import MqttPackage
from edge_agent.events.mqtt import MqttSource
from edge_agent.model.jobs import Identity
from edge_agent.settings import Mqtt

if TYPE_CHECKING:
    from tests.conftest import Broker, BrokerFactory
    from tests.edge_agent.events.conftest import Ground

GUEST = Identity(subject="guest", namespace="guest", uuid="u", key="k")
LIFE = {"triggerName": "/_/t", "authKey": "u:k"}


class Case:
    """A package whose source does not run: nothing is connected."""

    def __init__(self) -> None:
        self.state = FakeState()
        self.source = MqttSource(
            Mqtt(broker="127.0.0.1:1"), self.state, FakeSink(), client_id="t"
        )
        self.package = MqttPackage(self.source, self.state, wall_ms=lambda: 1000)

    async def __call__(self, event: str, **arguments: Any) -> Any:
        given = {"lifecycleEvent": event, **LIFE, **arguments}
        return await self.package.subscribe(GUEST, given)


@pytest.fixture
async def feed() -> Case:
    return Case()


async def test_create_is_kept_even_if_the_broker_is_down(feed: Case) -> None:
    answer = await feed("CREATE", topic="a/+", qos=2, username="u", password="hush")

    assert feed.state.saved["guest/t"].config["topic"] == "a/+"
    assert answer["config"] == {
        "name": "t",
        "namespace": "guest",
        "topic": "a/+",
        "broker": "127.0.0.1:1",
        "qos": 1,
        "retained": "first",
        "respond": True,
        "payload": "auto",
        "username": "u",
        "note": answer["config"]["note"],
    }
    assert "hush" not in str(answer)
    status = answer["status"]
    assert (status["active"], status["state"]) == (True, "waiting")
    assert status["dateChangedISO"] == "1970-01-01T00:00:01.000+00:00"
    assert await feed("READ") == answer


async def test_update_changes_what_is_given_and_null_takes_it_back(feed: Case) -> None:
    await feed("CREATE", topic="a", payload="text", qos=0)
    await feed("UPDATE", topic="b", qos=None)

    assert feed.state.saved["guest/t"].config == {"topic": "b", "payload": "text"}


async def test_an_update_that_is_wrong_changes_nothing(feed: Case) -> None:
    await feed("CREATE", topic="a")
    with pytest.raises(BuiltinError):
        await feed("UPDATE", topic="a/#/b")

    assert (await feed("READ"))["config"]["topic"] == "a"


async def test_pause_and_unpause(feed: Case) -> None:
    await feed("CREATE", topic="a")
    paused = await feed("PAUSE")
    assert (paused["status"]["active"], paused["status"]["state"]) == (False, "paused")
    assert feed.source.health()["brokers"][0]["subscriptions"] == []
    await feed("UPDATE", topic="b")
    assert feed.state.saved["guest/t"].active is False

    again = await feed("UNPAUSE")

    assert again["status"]["active"]
    (subscription,) = feed.source.health()["brokers"][0]["subscriptions"]
    assert subscription["topic"] == "b"


async def test_delete_forgets(feed: Case) -> None:
    await feed("CREATE", topic="a")
    await feed("DELETE")

    assert feed.state.saved == {}
    with pytest.raises(BuiltinError, match="the trigger /guest/t has no MQTT"):
        await feed("READ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"lifecycleEvent": "BUILD"}, "lifecycleEvent: expected one of CREATE, READ"),
        ({"lifecycleEvent": None}, "lifecycleEvent: expected one of"),
        ({"lifecycleEvent": []}, "lifecycleEvent: expected one of"),
        ({"authKey": None}, "authKey: is missing"),
        ({"authKey": "u:other"}, "authKey: is not a key of guest"),
        ({"triggerName": None}, "triggerName: is missing"),
        ({"triggerName": "/a/b/c/d"}, "triggerName: '/a/b/c/d'"),
        ({"triggerName": "/other/t"}, "triggerName: '/other/t' is not in your"),
        ({"topic": "a/#/b"}, "topic filter 'a/#/b': level 2"),
        ({"colour": 1}, "colour: is not known here"),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(
    feed: Case, arguments: dict[str, Any], text: str
) -> None:
    given = {"topic": "a", "lifecycleEvent": "CREATE", **LIFE, **arguments}

    with pytest.raises(BuiltinError) as raised:
        await feed.package.subscribe(GUEST, given)

    assert str(raised.value).startswith(text)
    assert feed.state.saved == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "topic: is missing"),
        ({"topic": "a/#"}, "topic 'a/#': '#' at character 3"),
        ({"topic": "a", "qos": 9}, "qos: expected 0 or 1, got 9"),
        ({"topic": "a", "retain": "yes"}, "retain: expected true or false"),
        ({"topic": "a", "broker": 1}, "broker: expected host:port, got 1"),
        ({"topic": "a", "broker": "h:x"}, "broker: the port of 'h:x'"),
        ({"topic": "a", "message": 1}, "message: is not known here"),
    ],
)
async def test_publish_names_what_is_wrong(
    feed: Case, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(BuiltinError) as raised:
        await feed.package.publish(GUEST, arguments)

    assert str(raised.value).startswith(text)


@pytest.mark.broker
async def test_publish_returns_when_the_broker_has_it(
    broker: Broker, ground: Ground
) -> None:
    source = ground.start(FakeSink(), broker.address)
    package = MqttPackage(source, FakeState())
    outsider = ground.outsider(broker.address)
    await outsider.listen("#")

    for payload in ("text", {"a": 1}, None, 7):
        arguments = {"topic": "out", "payload": payload}
        answer = await package.publish(GUEST, arguments)
        assert answer == {"topic": "out", "qos": 1, "published": True}

    await ground.until(lambda: len(outsider.heard) == 4)
    assert [p for _, p in outsider.heard] == [b"text", b'{"a":1}', b"", b"7"]


@pytest.mark.broker
async def test_publish_says_why_nothing_comes_back(
    broker_factory: BrokerFactory, ground: Ground
) -> None:
    broker = broker_factory(start=False)
    source = ground.start(FakeSink(), broker.address)
    package = MqttPackage(source, FakeState(), publish_timeout_s=0.2)

    with pytest.raises(BuiltinError, match=r"in 0\.2 s .* Connection refused"):
        await package.publish(GUEST, {"topic": "out"})


@pytest.mark.broker
async def test_a_feed_works_while_the_source_runs(
    broker: Broker, ground: Ground
) -> None:
    sink, state = FakeSink(), FakeState()
    source = ground.start(sink, broker.address, state)
    package = MqttPackage(source, state)
    await ground.up(source)
    outsider = ground.outsider(broker.address)

    async def call(event: str, **arguments: Any) -> Any:
        given = {"lifecycleEvent": event, **LIFE, **arguments}
        return await package.subscribe(GUEST, given)

    created = await call("CREATE", topic="a")
    assert created["status"]["granted"] == 1
    outsider.publish("a", "1")
    await sink.wait_for(1)
    await call("UPDATE", topic="b")
    outsider.publish("a", "2")
    outsider.publish("b", "3")
    await sink.wait_for(2)
    assert (await call("READ"))["status"]["granted"] == 1
    await call("DELETE")
    outsider.publish("b", "4")

    payloads = [msgspec.json.decode(one.payload)["payload"] for one in sink.events]
    assert payloads == [1, 3]
