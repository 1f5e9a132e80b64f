"""Which driver runs a kind or an image, and what a node says of its kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.model.errors import SettingsError
from edge_agent.sandbox.base import ActionToBlame, SandboxSpec
from edge_agent.sandbox.container.document import Terms
from edge_agent.sandbox.container.engine import Engine, EngineFacts, describe_engine
from edge_agent.sandbox.container.factory import ContainerFactory
from edge_agent.sandbox.drivers import Drivers
from edge_agent.sandbox.process import ProcessFactory

FACTS = EngineFacts("/sock", "Docker", "20.10", "1.41")
SKELETON = "blackbox:openwhisk/dockerskeleton"


@pytest.fixture
async def process() -> AsyncIterator[ProcessFactory]:
    sandboxing = settings.Sandboxing(minimum_level="rlimits", fork_server=False)
    factory = await ProcessFactory.open(sandboxing, settings.Runtimes())
    yield factory
    await factory.close()


def containers(**wanted: Any) -> ContainerFactory:
    """As if an engine had answered; nothing here asks it anything."""
    session: Any = None
    terms = Terms(settings.Containers(), pool_mb=1024, labels={})
    return ContainerFactory(
        settings.Containers(**wanted),
        Engine(session, FACTS),
        terms=terms,
        owner="me",
        response_limit=1,
    )


async def test_images_go_to_the_engine_and_without_one_to_what_stands_for_them(
    process: ProcessFactory,
) -> None:
    assert Drivers(process, containers(), images={}).resolve(SKELETON) == SKELETON
    alone = Drivers(process, "no socket", images={})
    assert alone.resolve(SKELETON) == "native:exec"
    assert alone.engine == "none: no socket"


async def test_an_image_that_is_not_allowed_goes_to_what_stands_for_it(
    process: ProcessFactory,
) -> None:
    drivers = Drivers(process, containers(images=("us/*",)), images={})
    assert drivers.resolve(SKELETON) == "native:exec"
    assert drivers.resolve("blackbox:us/x") == "blackbox:us/x"


async def test_settings_may_want_an_image_as_a_process(process: ProcessFactory) -> None:
    images = {"openwhisk/*": "native"}
    drivers = Drivers(process, containers(), images=images)
    assert drivers.resolve(SKELETON) == "native:exec"
    assert drivers.resolve("blackbox:us/x") == "blackbox:us/x"


@pytest.mark.parametrize(
    ("container", "why"),
    [("no socket", "no container engine"), (containers(images=()), "not among")],
)
async def test_c17_an_image_that_nothing_runs_resolves_and_says_why_not(
    process: ProcessFactory, container: Any, why: str
) -> None:
    drivers = Drivers(process, container, images={})
    kind = drivers.resolve("blackbox:some/image")
    assert kind == "blackbox:some/image"
    with pytest.raises(ActionToBlame, match=why):
        await drivers.create(SandboxSpec(kind, 256))


async def test_a_kind_with_an_image_is_listed_and_is_the_default_of_a_new_family(
    process: ProcessFactory,
) -> None:
    kinds = {"java:8": "us/java", "java:17": "us/java17", "python:3.9": "us/python"}
    drivers = Drivers(process, containers(kinds=kinds), images={})
    assert {"java:8", "python:3.9", *process.kinds} == {*drivers.kinds} - {"java:17"}
    entries = {entry.kind: entry for entry in drivers.entries}
    assert entries["java:8"].default
    assert not entries["java:17"].default
    assert not entries["python:3.9"].default
    assert drivers.resolve("java:8") == "java:8"
    assert drivers.resolve("java:9") is None
    assert drivers.resolve("python:default") == process.resolve("python:default")


async def test_containers_share_the_network_as_processes_do(
    process: ProcessFactory,
) -> None:
    container = containers()
    drivers = Drivers(process, container, images={})
    assert drivers.share_network(tenants=2)
    assert not container.network
    assert drivers.share_network(tenants=1)
    assert container.network


@pytest.mark.parametrize("network", ["host", "container:x", "ns:/proc/1/ns/net"])
async def test_containers_have_no_network_of_others(network: str) -> None:
    with pytest.raises(SettingsError, match=r"container\.network"):
        await ContainerFactory.open(settings.Containers(network=network), pool_mb=1)


async def test_an_engine_that_does_not_answer_is_none(tmp_path: Any) -> None:
    wanted = settings.Containers(socket=str(tmp_path / "none"))
    said = await ContainerFactory.open(wanted, pool_mb=1)
    assert isinstance(said, str)
    assert str(tmp_path) in said


async def test_a_socket_of_another_user_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    socket = tmp_path / "sock"
    socket.touch()
    monkeypatch.setattr("edge_agent.sandbox.container.engine.SOCKETS", (str(socket),))
    monkeypatch.setattr("os.access", lambda *_: False)
    said = await describe_engine("auto")
    assert said == f"none: {socket} is not ours to use: its group must have our user"
