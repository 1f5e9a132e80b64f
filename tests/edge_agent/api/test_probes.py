from __future__ import annotations

import asyncio
from typing import Any

import pytest

SERVICE = "OPTIONS, GET, POST"


async def ask(server: Any, path: str, method: str = "GET", identity: Any = None) -> Any:
    auth = None if identity else " "
    answer = await server(method, path, identity=identity, auth=auth)
    assert answer.headers["Access-Control-Allow-Methods"] == SERVICE
    return answer


async def test_a17_a18_a_node_tells_of_no_invokers(server: Any) -> None:
    assert (await ask(server, "/invokers")).body == {}
    assert (await ask(server, "/invokers/healthy/count")).body == 0


async def test_a19_a21_only_the_nodes_own_key_disables_it(server: Any) -> None:
    nobody = await ask(server, "/disable", "POST")
    guest = await ask(server, "/disable", "POST", identity=server.guest)
    ready = await ask(server, "/invokers/ready")
    done = await ask(server, "/disable", "POST", identity=server.system)
    drained = await ask(server, "/invokers/ready")

    assert nobody.error == (
        "Authentication is possible but has failed or not yet been provided."
    )
    assert (guest.status, guest.error) == (401, "username or password are wrong.")
    assert "WWW-Authenticate" not in guest.headers
    assert (ready.status, ready.body) == (200, {"healthy": "1/1"})
    assert (done.status, done.text) == (200, "controller disabled")
    assert (drained.status, drained.body) == (500, {"unhealthy": "0/1"})


@pytest.mark.parametrize("auth", ["", "x", "Basic", "Basic !", "é"])
async def test_a21_odd_credentials_are_refused(server: Any, auth: str) -> None:
    headers = {"Authorization": auth}
    answer = await server("POST", "/disable", headers=headers, auth=" ")

    assert answer.status == 401


async def test_a20_what_runs_is_named_until_it_ends(server: Any) -> None:
    object.__setattr__(
        server.services, "in_flight", server.services.engine._pool.in_flight
    )
    server.factory.hold_runs = True
    await server.put_action()
    running = asyncio.create_task(server.invoke())
    async with asyncio.timeout(5):
        while (await ask(server, "/activation/count")).body != 1:
            await asyncio.sleep(0.01)

    ((activation_id, action),) = (await ask(server, "/activation")).body
    for sandbox in server.factory.busy:
        sandbox.release()
    answer = await running

    assert action == "guest/a"
    assert activation_id == answer.body["activationId"]
    assert (await ask(server, "/activation")).body == []
