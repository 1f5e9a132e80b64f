"""Nodes over HTTP: what a host says is what the policy is told.

The host is OpenWhisk without `/edge/v1`, as upstream is: a scripted answer for each
invocation, and records that are there when they are.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.fleet.client import Client
from controller.fleet.retry import NO_RETRY
from controller.fleet.target import Target
from controller.mapreduce.fake import work_of
from controller.mapreduce.fleet_node import UNTOLD_SLOTS, FleetNode
from controller.mapreduce.job import Job, MapAction
from controller.mapreduce.node import (
    Done,
    Failed,
    Lost,
    NodeDown,
    NodeUnfit,
    Refused,
    Vitals,
)
from controller.mapreduce.run import run_loaded

ID = "0123456789abcdef0123456789abcdef"
ACTION = MapAction("python:default", "code", "action", {"timeout": 1000, "memory": 128})
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def record(result: Any, status: str = "success") -> dict[str, Any]:
    return {
        "namespace": "guest",
        "name": "a",
        "version": "0.0.1",
        "subject": "guest",
        "activationId": ID,
        "start": 1,
        "end": 1251,
        "duration": 1250,
        "logs": [],
        "annotations": [],
        "publish": False,
        "response": {
            "status": status,
            "success": status == "success",
            "result": result,
        },
    }


@dataclass(slots=True)
class PlainOpenWhisk:
    """`invoked` answers POSTs of actions; `records` come after `waits` 404s."""

    url: str = ""
    invoked: Answer | None = None
    put_status: int = 200
    put_text: str = ""
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    waits: int = 0
    actions: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def put(self, request: web.Request) -> web.Response:
        if self.put_status != 200:
            body = {"error": self.put_text, "code": "x"}
            return web.json_response(body, status=self.put_status)
        name = request.match_info["name"]
        self.actions[name] = await request.json()
        return web.json_response(
            {"namespace": "guest", "name": name, **self.actions[name]}
        )

    async def delete(self, request: web.Request) -> web.Response:
        if self.actions.pop(request.match_info["name"], None) is None:
            return web.json_response({"error": "gone", "code": "x"}, status=404)
        return web.json_response({})

    async def post(self, request: web.Request) -> web.StreamResponse:
        assert request.query["blocking"] == "true"
        assert self.invoked is not None
        return await self.invoked(request)

    async def get(self, request: web.Request) -> web.Response:
        found = self.records.get(request.match_info["id"])
        self.asked.append(request.match_info["id"])
        if found is None or len(self.asked) <= self.waits:
            return web.json_response({"error": "not there", "code": "x"}, status=404)
        return web.json_response(found)

    async def list(self, _request: web.Request) -> web.Response:
        return web.json_response([])

    def says(self, status: int, body: Any, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.json_response(body, status=status, headers=named)

        self.invoked = answer


@pytest.fixture
async def host() -> AsyncIterator[PlainOpenWhisk]:
    host = PlainOpenWhisk()
    app = web.Application()
    base = "/api/v1/namespaces/_"
    app.router.add_put(base + "/actions/{name}", host.put)
    app.router.add_delete(base + "/actions/{name}", host.delete)
    app.router.add_post(base + "/actions/{name}", host.post)
    app.router.add_get(base + "/actions", host.list)
    app.router.add_get(base + "/activations/{id}", host.get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address, port = runner.addresses[0]
    host.url = f"http://{address}:{port}"
    yield host
    await runner.cleanup()


@pytest.fixture
async def node(host: PlainOpenWhisk) -> AsyncIterator[FleetNode]:
    async with Client(Target(host.url, "a:b"), retry=NO_RETRY, timeout_s=2) as client:
        yield FleetNode(client, name="plain", run="r1", grace_s=0.5)


async def test_an_action_is_put_with_its_limits_and_taken_away(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    await node.deploy("pi-1", ACTION)
    put = host.actions["pi-1"]
    assert put["exec"] == {"kind": "python:default", "code": "code", "main": "action"}
    assert put["limits"] == {"timeout": 1000, "memory": 128}
    assert {"key": "edgewhisk-run", "value": "r1"} in put["annotations"]
    await node.remove("pi-1")
    await node.remove("pi-1")
    assert host.actions == {}


@pytest.mark.parametrize("status", [400, 401, 403, 413])
async def test_a_host_that_will_not_take_the_job_is_unfit(
    host: PlainOpenWhisk, node: FleetNode, status: int
) -> None:
    host.put_status, host.put_text = status, "not here"
    with pytest.raises(NodeUnfit, match="not here"):
        await node.deploy("pi-1", ACTION)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_host_in_trouble_is_down(
    host: PlainOpenWhisk, node: FleetNode, status: int
) -> None:
    host.put_status, host.put_text = status, "not now"
    with pytest.raises(NodeDown, match="not now"):
        await node.deploy("pi-1", ACTION)


async def test_slots_of_a_host_that_does_not_tell_are_guessed(node: FleetNode) -> None:
    assert await node.vitals() == Vitals(UNTOLD_SLOTS)
    assert await node.vitals() == Vitals(UNTOLD_SLOTS)


async def test_a_result_comes_with_the_hosts_own_duration(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(200, record({"inside": 3}))
    outcome = await node.run("a", b"{}")
    assert isinstance(outcome, Done)
    assert bytes(outcome.result) == b'{"inside": 3}'
    assert (outcome.activation_id, outcome.seconds) == (ID, 1.25)


async def test_a_bare_array_is_a_result_too(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(200, [1, 2], X_OpenWhisk_Activation_Id=ID)
    outcome = await node.run("a", b"{}")
    assert isinstance(outcome, Done)
    assert bytes(outcome.result) == b"[1, 2]"
    assert outcome.activation_id == ID


@pytest.mark.parametrize("status", ["application error", "action developer error"])
async def test_a_failing_action_is_failed(
    host: PlainOpenWhisk, node: FleetNode, status: str
) -> None:
    body = record({"error": "no\nluck"}, status)
    host.says(502, body, X_OpenWhisk_Activation_Id=ID)
    assert await node.run("a", b"{}") == Failed(f"{status}: no luck", ID)


async def test_a_whisk_error_is_lost(host: PlainOpenWhisk, node: FleetNode) -> None:
    body = record({"error": "no room"}, "whisk internal error")
    host.says(500, body, X_OpenWhisk_Activation_Id=ID)
    assert await node.run("a", b"{}") == Lost("whisk internal error: no room")


async def test_a_throttle_is_a_refusal_and_may_say_how_long(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(429, {"error": "too many", "code": "x"})
    assert await node.run("a", b"{}") == Refused()
    host.says(503, {"error": "full", "code": "x"}, Retry_After="7")
    assert await node.run("a", b"{}") == Refused(7)


async def test_a_broken_connection_is_lost(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    host.invoked = hang_up
    outcome = await node.run("a", b"{}")
    assert isinstance(outcome, Lost)
    assert "the connection broke" in outcome.reason


async def test_an_action_that_is_gone_is_lost(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(404, {"error": "The requested resource does not exist.", "code": "x"})
    assert isinstance(await node.run("a", b"{}"), Lost)


async def test_when_the_wait_ends_first_the_record_is_polled(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(202, {"activationId": ID})
    host.records[ID], host.waits = record({"x": 1}), 2
    outcome = await node.run("a", b"{}")
    assert isinstance(outcome, Done)
    assert (bytes(outcome.result), outcome.seconds) == (b'{"x": 1}', 1.25)
    assert len(host.asked) == 3


async def test_a_record_that_never_comes_is_lost(
    host: PlainOpenWhisk, node: FleetNode
) -> None:
    host.says(202, {"activationId": ID})
    assert await node.run("a", b"{}") == Lost(f"no record of activation {ID}")


async def test_a_whole_run_on_plain_openwhisk_with_throttles(
    host: PlainOpenWhisk, squares: Job, tmp_path: Path
) -> None:
    """Every third call is refused, every other accepted call answers 202."""
    work, calls = work_of(squares.actions[""]), 0

    async def invoked(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            return web.json_response({"error": "too many", "code": "x"}, status=429)
        done = record(json.loads(work(await request.read())))
        if calls % 2:
            return web.json_response(done)
        activation_id = f"{calls:032x}"
        host.records[activation_id] = done | {"activationId": activation_id}
        return web.json_response({"activationId": activation_id}, status=202)

    host.invoked = invoked
    target = Target(host.url, "a:b")
    report = await run_loaded(squares, [target], settings={}, out=tmp_path / "out")
    assert report.result == {"squares": [n * n for n in range(20)]}
    assert report.retries > 0
    assert host.actions == {}
    assert set(host.asked) == set(host.records)
