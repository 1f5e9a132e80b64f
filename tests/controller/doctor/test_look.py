"""`edgectl doctor` on real agents, on what is none, and on nobody."""

from __future__ import annotations

import datetime as dt
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controller.deploy.authority import open_authority
from controller.doctor import outside
from controller.doctor.look import look
from controller.doctor.outside import (
    EXPIRES_SOON,
    PUBLIC_KEY,
    certificate,
    judge_end,
    public_key,
    version_skew,
)
from controller.doctor.upstream import differences_of
from controller.fleet.client import NO_RETRY, Client
from controller.fleet.target import Target
from tests.conftest import Agent, AgentFactory

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


async def looked_at(target: Target) -> Any:
    async with Client(target, retry=NO_RETRY, timeout_s=5) as client:
        (found,) = await look([client], None)
    return found


async def test_a_node_is_looked_at_from_inside(agent: Agent) -> None:
    target = Target(agent.url, agent.key, "attic", system_key=agent.system_key)

    found = await looked_at(target)
    shut = await looked_at(Target(agent.url, agent.key, "attic"))
    wrong = await looked_at(Target(agent.url, "u:k", "attic"))

    assert found.answers
    assert found.report["version"]
    assert not [one.id for one in found.problems if one.id in {"clock", "version"}]
    assert [one.id for one in shut.problems] == ["system-key"]
    assert [one.id for one in wrong.problems] == ["key"]


async def test_a_node_that_is_off_is_told_as_that() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        found = await looked_at(Target(f"http://127.0.0.1:{port}", "u:k", "attic"))

    assert not found.answers
    assert [one.id for one in found.problems] == ["unreachable"]


@pytest.fixture
def open_agent(agent_factory: AgentFactory, tmp_path: Path) -> Agent:
    """One that takes the key that everybody knows."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"guest": [PUBLIC_KEY]}))
    return agent_factory(settings=f'keys_file = "{keys}"\n')


async def test_a_public_key_that_opens_a_node_is_serious(
    open_agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(open_agent.url, open_agent.key)
    near = await public_key(target)
    monkeypatch.setattr(outside, "_is_loopback", lambda _: False)

    far = await public_key(target)

    assert near == []
    assert [(one.id, one.serious) for one in far] == [("public-key", True)]


async def test_a_host_of_upstream_is_told_where_it_differs() -> None:
    async def limits(_: web.Request) -> web.Response:
        return web.json_response(
            {"invocationsPerMinute": 60, "concurrentInvocations": 30}
        )

    async def nothing(_: web.Request) -> web.Response:
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/api/v1/namespaces/_/actions", nothing)
    app.router.add_get("/api/v1/namespaces/_/limits", limits)
    app.router.add_get("/api/v1/namespaces/whisk.system/packages", nothing)
    async with TestServer(app) as server:
        found = await looked_at(Target(f"http://127.0.0.1:{server.port}", "u:k"))

    assert found.well
    assert [one.id for one in found.problems] == [
        "upstream",
        "upstream-feeds",
        "upstream-limits",
    ]


def test_what_upstream_has_is_not_missed() -> None:
    ours = differences_of(
        {"invocationsPerMinute": 9000}, ["mqtt", "gpio", "alarms", "utils"]
    )

    assert [one.id for one in ours] == ["upstream"]


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (dt.timedelta(days=-1), [True]),
        (EXPIRES_SOON / 2, [False]),
        (EXPIRES_SOON * 2, []),
    ],
)
def test_a_certificate_is_judged_by_its_end(
    left: dt.timedelta, found: list[bool]
) -> None:
    assert [one.serious for one in judge_end(NOW + left, NOW)] == found


@pytest.fixture
def secure_url(agent_factory: AgentFactory, tmp_path: Path) -> str:
    """The https address of an agent whose certificate nobody here vouches for."""
    with open_authority(tmp_path / "pki") as authority:
        authority.issue("attic", ["127.0.0.1"])
    files = [str(tmp_path / "pki" / f"attic.{kind}") for kind in ("pem", "key")]
    port = _free_port()
    agent_factory(
        settings=f"[server.tls]\nport = {port}\nhost = '127.0.0.1'\n"
        f"certificate = '{files[0]}'\nkey = '{files[1]}'\n"
    )
    return f"https://127.0.0.1:{port}"


async def test_a_certificate_is_seen_whoever_signed_it(
    secure_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = await certificate(Target(secure_url, "u:k"))
    monkeypatch.setattr(outside, "EXPIRES_SOON", dt.timedelta(days=36500))

    soon = await certificate(Target(secure_url, "u:k"))

    assert fresh == []
    assert [one.id for one in soon] == ["certificate"]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_nodes_of_another_version_are_named() -> None:
    skew = version_skew([("attic", "0.1"), ("cellar", "0.2"), ("off", "")], "0.2")

    assert list(skew) == ["attic"]
    assert skew["attic"].text == "it runs 0.1, edgectl is 0.2"
