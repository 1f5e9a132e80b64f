"""TLS, credentials and secrets, against a real mosquitto."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import paho.mqtt.publish
import pytest

from edge_agent.events.base import BuiltinError
from edge_agent.events.fake import FakeSink, FakeState
from edge_agent.events.mqtt import FEED, MqttSource
from edge_agent.events.secret import Secret, Secrets, parse_hidden
from edge_agent.settings import Mqtt, SecretName
from tests.certificates import Authority, Pair

if TYPE_CHECKING:
    from tests.conftest import Broker, BrokerFactory
    from tests.edge_agent.events.conftest import Ground

pytestmark = pytest.mark.broker

PASSWORD = "hush hush"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Safe:
    """A folder of secrets."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.secrets = Secrets(folder)

    def put(self, name: str, text: str, mode: int = 0o600) -> dict[str, str]:
        path = self.folder / name
        path.write_text(f"{text}\n")
        path.chmod(mode)
        return {"secret": name}


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    return Safe(tmp_path / "secrets")


@pytest.fixture
def guarded(broker_factory: BrokerFactory, tmp_path: Path) -> Broker:
    """A broker that knows the user `pi` only."""
    file = tmp_path / "users"
    command = ["mosquitto_passwd", "-b", "-c", str(file), "pi", PASSWORD]
    subprocess.run(command, check=True, capture_output=True)
    file.chmod(0o644)
    return broker_factory("allow_anonymous false", f"password_file {file}")


def encrypted(factory: BrokerFactory, folder: Path, authority: Authority) -> Broker:
    """A broker that lets in whom the authority knows."""
    ca = folder / "ca.crt"
    ca.write_text(authority.certificate)
    certificate, key = authority.issue("broker").write(folder, "broker")
    return factory(
        f"cafile {ca}",
        f"certfile {certificate}",
        f"keyfile {key}",
        "require_certificate true",
        "use_identity_as_username true",
    )


def start(
    ground: Ground, safe: Safe, address: str, **parameters: Any
) -> tuple[MqttSource, FakeSink]:
    sink = FakeSink()
    state = FakeState([ground.wants("t", "a/#", broker=address, **parameters)])
    source = MqttSource(
        Mqtt(broker="127.0.0.1:1", backoff_s=0.05, backoff_most_s=0.2),
        state,
        sink,
        client_id="test",
        secrets=safe.secrets,
    )
    ground.run(source)
    return source, sink


async def error_of(ground: Ground, source: MqttSource) -> str:
    def errors() -> list[str]:
        found = [one["error"] for one in source.health()["brokers"]]
        return [error for error in found if error]

    await ground.until(errors)
    return errors()[0]


async def test_tls_with_a_client_certificate(
    broker_factory: BrokerFactory,
    tmp_path: Path,
    authority: Authority,
    safe: Safe,
    ground: Ground,
) -> None:
    broker = encrypted(broker_factory, tmp_path, authority)
    pair = authority.issue("attic")
    tls = {
        "ca": authority.certificate,
        "certificate": pair.certificate,
        "key": safe.put("attic.key", pair.key),
    }
    source, sink = start(ground, safe, f"mqtts://{broker.address}", tls=tls)
    await ground.up(source)
    large = "x" * 300_000  # many records of TLS, more than one read takes
    await asyncio.to_thread(publish, broker, tmp_path, authority.issue("other"), large)

    (event,) = await sink.wait_for(1)

    assert msgspec.json.decode(event.payload)["payload"] == large
    shown = str(source.check(source._state.subscriptions(FEED)[0].config).shown())
    assert "PRIVATE" not in shown
    assert "attic.key" in shown


def publish(broker: Broker, folder: Path, pair: Pair, text: str) -> None:
    certificate, key = pair.write(folder, "other")
    paho.mqtt.publish.single(
        "a/b",
        text,
        qos=1,
        hostname="127.0.0.1",
        port=broker.port,
        tls={
            "ca_certs": str(folder / "ca.crt"),
            "certfile": str(certificate),
            "keyfile": str(key),
            "tls_version": ssl.PROTOCOL_TLS_CLIENT,
        },
    )


async def test_a_broker_that_an_unknown_authority_signed_is_not_trusted(
    broker_factory: BrokerFactory,
    tmp_path: Path,
    authority: Authority,
    safe: Safe,
    ground: Ground,
) -> None:
    broker = encrypted(broker_factory, tmp_path, authority)
    tls = {"ca": Authority().certificate}

    source, _ = start(ground, safe, broker.address, tls=tls)

    error = await error_of(ground, source)
    assert error.startswith("cannot connect: TLS: the broker's certificate: ")


async def test_a_client_without_a_certificate_is_told_so(
    broker_factory: BrokerFactory,
    tmp_path: Path,
    authority: Authority,
    safe: Safe,
    ground: Ground,
) -> None:
    broker = encrypted(broker_factory, tmp_path, authority)

    source, _ = start(
        ground, safe, broker.address, tls={"ca": authority.certificate}, version=5
    )

    assert "certificate required" in await error_of(ground, source)


async def test_tls_to_a_broker_without_it_fails_clearly(
    broker: Broker, safe: Safe, ground: Ground
) -> None:
    source, _ = start(ground, safe, f"mqtts://{broker.address}")

    assert (await error_of(ground, source)).startswith("cannot connect")


async def test_a_password_comes_from_its_secret(
    guarded: Broker, safe: Safe, ground: Ground
) -> None:
    password = safe.put("mqtt", PASSWORD)
    source, _ = start(ground, safe, guarded.address, username="pi", password=password)

    await ground.up(source)

    assert source.status("guest/t")["granted"] == 1
    assert PASSWORD not in str(source.health())


async def test_a_secret_that_is_changed_counts_from_the_next_connection_on(
    guarded: Broker, safe: Safe, ground: Ground
) -> None:
    password = safe.put("mqtt", "old")
    source, _ = start(ground, safe, guarded.address, username="pi", password=password)
    assert "refused the connection" in await error_of(ground, source)

    await asyncio.to_thread(safe.put, "mqtt", PASSWORD)

    await ground.up(source)


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        (0o644, "'mqtt': others may read it (mode 644): chmod 600 "),
        (0o640, "'mqtt': others may read it (mode 640): chmod 600 "),
        (None, "'mqtt': there is no file "),
    ],
)
async def test_a_secret_that_cannot_be_used_is_told_when_the_feed_is_made(
    mode: int | None, problem: str, safe: Safe
) -> None:
    if mode is not None:
        safe.put("mqtt", PASSWORD, mode)
    source = MqttSource(
        Mqtt(), FakeState(), FakeSink(), client_id="t", secrets=safe.secrets
    )
    given = {"topic": "a", "username": "pi", "password": {"secret": "mqtt"}}

    with pytest.raises(BuiltinError) as raised:
        await source.check_secrets(source.check(given))

    assert f"secret: {problem}" in str(raised.value)
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    ("place", "namespace", "found"),
    [
        ("other/mqtt", "other", True),
        ("guest/mqtt", "other", False),
        ("mqtt", "other", False),
        ("mqtt", "guest", True),
        ("guest/mqtt", "guest", True),
    ],
)
def test_a_namespace_reaches_its_own_secrets_and_the_owner_the_nodes(
    tmp_path: Path, place: str, namespace: str, found: bool
) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    file.chmod(0o600)
    secrets = Secrets(tmp_path, owner="guest")
    secret = parse_hidden({"secret": "mqtt"}, key="password")
    if found:
        assert secrets.text(secret, namespace=namespace) == "mine"
    else:
        with pytest.raises(BuiltinError, match=r"there is no file .*/other/mqtt"):
            secrets.text(secret, namespace=namespace)


def test_a_namespaces_own_secret_wins_and_that_of_the_settings_stays(
    tmp_path: Path,
) -> None:
    safe = Safe(tmp_path / "secrets")
    (safe.folder / "guest").mkdir()
    safe.put("mqtt", "the node's")
    safe.put("guest/mqtt", "the namespace's")
    given = parse_hidden({"secret": "mqtt"}, key="password")
    assert safe.secrets.text(given, namespace="guest") == "the namespace's"
    settings = Secret("mqtt", of_node=True)
    assert safe.secrets.text(settings, namespace="guest") == "the node's"
    assert safe.secrets.text(settings, namespace="other") == "the node's"


async def test_the_nodes_own_broker_has_its_credentials_from_the_settings(
    guarded: Broker, safe: Safe, ground: Ground
) -> None:
    safe.put("mqtt", PASSWORD)
    settings = Mqtt(
        broker=guarded.address,
        username="pi",
        password=SecretName(secret="mqtt"),
        backoff_s=0.05,
    )
    state = FakeState(
        [ground.wants("own", "a"), ground.wants("other", "a", broker="127.0.0.1:1")]
    )
    source = MqttSource(
        settings, state, FakeSink(), client_id="t", secrets=safe.secrets
    )
    ground.run(source)

    await ground.until(lambda: source.status("guest/own").get("granted") == 1)
    assert (
        source.check({"topic": "a", "broker": "127.0.0.1:1"}).identity.username is None
    )


def test_settings_that_cannot_be_are_told() -> None:
    with pytest.raises(BuiltinError, match="broker: the port"):
        MqttSource(Mqtt(broker="h:x"), FakeState(), FakeSink(), client_id="t")
