"""Several nodes as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from controller.fleet.client import NO_RETRY, Client
from controller.fleet.fleet import first_found, least_loaded, load_of, on_all
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError

ACTION = {"namespace": "guest", "name": "a", "exec": {"kind": "python:3"}}


def node(load: Any = None, *, status: int = 200) -> web.Application:
    """A host that tells this load, and answers anything else with `status`."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/edge/v1/load":
            if load is None:
                return web.json_response({"error": "no", "code": "x"}, status=405)
            return web.json_response(load)
        if status == 200:
            return web.json_response(ACTION)
        return web.json_response({"error": "refused", "code": "x"}, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


@asynccontextmanager
async def clients(
    *apps: web.Application | None, port: int = 9
) -> AsyncIterator[Sequence[Client]]:
    """One for each app, named n1, n2 …; None is a node that is away."""
    async with AsyncExitStack() as stack:
        found = []
        for number, app in enumerate(apps, 1):
            url = f"http://127.0.0.1:{port}"
            if app is not None:
                runner = web.AppRunner(app)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                url = "http://{}:{}".format(*runner.addresses[0][:2])
            target = Target(url, "u:k", name=f"n{number}")
            client = Client(target, retry=NO_RETRY)
            found.append(await stack.enter_async_context(client))
        yield found


async def test_the_node_with_the_least_work_for_its_slots_is_chosen() -> None:
    busy = node({"slots": 2, "running": 2, "queue": 0, "inbox": 0})
    large = node({"slots": 8, "running": 3, "queue": 0, "inbox": 0})
    queued = node({"slots": 8, "running": 0, "queue": 4, "inbox": 2})
    async with clients(busy, large, queued) as found:
        assert (await least_loaded(found)).target.name == "n2"


async def test_a_node_that_is_away_is_the_last_choice() -> None:
    full = node({"slots": 1, "running": 9})
    async with clients(None, full) as found:
        assert (await least_loaded(found)).target.name == "n2"
        assert await load_of(found[0]) == float("inf")


async def test_a_host_that_is_no_agent_counts_as_idle() -> None:
    async with clients(node(), node({"slots": 1, "running": 1})) as found:
        assert (await least_loaded(found)).target.name == "n1"


async def test_what_one_node_refuses_is_told_with_those_that_did_it() -> None:
    async with clients(node(), node(status=413), node()) as found:
        with pytest.raises(OpenWhiskError, match="n2: refused") as raised:
            await on_all(found, lambda c: c.get_action("a"))
    assert raised.value.status == 413
    assert "done on n1, n3" in str(raised.value)


async def test_the_first_that_has_it_answers() -> None:
    async with clients(node(status=404), node()) as found:
        target, action = await first_found(found, lambda c: c.get_action("a"))
    assert (target.name, action.name) == ("n2", "a")


async def test_that_a_node_is_away_is_told_before_that_it_is_missing() -> None:
    async with clients(node(status=404), None) as found:
        with pytest.raises(OpenWhiskError, match="cannot connect"):
            await first_found(found, lambda c: c.get_action("a"))
