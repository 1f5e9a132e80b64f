"""What `wsk` sends, as it sends it (A49a-A49g, A81): queries, bodies and headers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

AGENT = "OpenWhisk-CLI/1.0 (2020-11-01T00:00:00Z) linux arm64"
CODE = {"kind": "python:3.11", "code": "def main(args):\n    return {'a': '<b> & c'}\n"}

Wsk = Callable[..., Awaitable[Any]]


@pytest.fixture
def wsk(server: Any) -> Wsk:
    """Send as the CLI does: JSON that ends with a newline, and its own name (A49e)."""

    async def send(method: str, path: str, body: Any = None) -> Any:
        raw = None if body is None else f"{json.dumps(body)}\n".encode()
        headers = {"User-Agent": AGENT, "Content-Type": "application/json"}
        return await server(method, path, raw=raw, headers=headers)

    return send


def action(name: str, *, package: str = "", **fields: Any) -> dict[str, Any]:
    """A body of the Go client: it names the entity in it as well (B4)."""
    namespace = f"_/{package}" if package else "_"
    return {"namespace": namespace, "name": name, "exec": CODE, **fields}


async def test_a49a_actions(wsk: Wsk) -> None:
    await wsk("PUT", "packages/p?overwrite=false", {"namespace": "_", "name": "p"})
    created = await wsk("PUT", "actions/a%20b?overwrite=false", action("a b"))
    again = await wsk("PUT", "actions/a%20b?overwrite=false", action("a b"))
    updated = await wsk("PUT", "actions/a%20b?overwrite=true", action("a b"))
    inside = await wsk("PUT", "actions/p/c?overwrite=false", action("c", package="p"))
    listed = await wsk("GET", "actions?limit=30&skip=0")
    in_package = await wsk("GET", "actions/p/?limit=30&skip=0")
    with_code = await wsk("GET", "actions/a%20b?code=true")
    without = await wsk("GET", "actions/a%20b?code=false")
    called = await wsk("POST", "actions/a%20b?blocking=true&result=false", {"x": "<&>"})
    result = await wsk("POST", "actions/a%20b?blocking=true&result=true", {"x": "<&>"})
    left = await wsk("POST", "actions/a%20b?blocking=false&result=false", {})
    gone = await wsk("DELETE", "actions/a%20b")

    assert (created.status, again.status, updated.status) == (200, 409, 200)
    assert updated.body["version"] == "0.0.2"
    assert inside.body["namespace"] == "guest/p"
    assert {one["name"] for one in listed.body} == {"a b", "c"}
    assert [one["name"] for one in in_package.body] == ["c"]
    assert with_code.body["exec"]["code"] == CODE["code"]
    assert "code" not in without.body["exec"]
    assert called.body["response"]["result"] == result.body == {"x": "<&>"}
    assert left.status == 202
    assert gone.status == 200


async def test_a49b_triggers_rules_and_packages(wsk: Wsk) -> None:
    await wsk("PUT", "actions/a?overwrite=false", action("a"))
    for place, body in (
        ("triggers/t", {"name": "t", "parameters": [{"key": "k", "value": 1}]}),
        ("rules/r", {"name": "r", "trigger": "/_/t", "action": "/_/a"}),
        ("packages/p", {"name": "p", "publish": False}),
    ):
        created = await wsk("PUT", f"{place}?overwrite=false", body)
        updated = await wsk("PUT", f"{place}?overwrite=true", body)
        read = await wsk("GET", place)
        collection = place.partition("/")[0]
        listed = await wsk("GET", f"{collection}?limit=30&skip=0&public=false")

        assert (created.status, updated.status, read.status) == (200, 200, 200), place
        assert read.body["version"] == "0.0.2"
        assert [one["name"] for one in listed.body] == [body["name"]]
    bound = await wsk(
        "PUT",
        "packages/b?overwrite=false",
        {"name": "b", "binding": {"namespace": "_", "name": "p"}},
    )
    assert bound.body["binding"] == {"namespace": "guest", "name": "p"}
    for place in ("rules/r", "triggers/t", "packages/b", "packages/p"):
        assert (await wsk("DELETE", place)).status == 200


async def test_a49c_activations(wsk: Wsk) -> None:
    await wsk("PUT", "actions/a?overwrite=false", action("a"))
    called = await wsk("POST", "actions/a?blocking=true&result=false", {})
    start, found = called.body["start"], called.body["activationId"]

    for query in (
        "limit=30&skip=0",
        "limit=30&skip=0&name=a",
        f"limit=30&skip=0&since={start}&upto={start}",
        "limit=30&skip=0&docs=true",
    ):
        listed = await wsk("GET", f"activations?{query}")
        assert [one["activationId"] for one in listed.body] == [found], query
    later = await wsk("GET", f"activations?limit=30&skip=0&since={start + 1}")
    assert later.body == []
    assert (await wsk("GET", f"activations/{found}")).body["start"] == start
    assert (await wsk("GET", f"activations/{found}/logs")).body.keys() == {"logs"}
    assert (await wsk("GET", f"activations/{found}/result")).body["success"] is True


async def test_a49d_namespaces_and_the_builds_name(wsk: Wsk, server: Any) -> None:
    assert (await wsk("GET", "/api/v1/namespaces")).body == ["guest"]
    told = (await wsk("GET", "/api/v1")).body
    assert told["build"]
    assert told["buildno"]
    assert (await server("GET", "/sdk.tar.gz", auth=" ")).status == 405  # A62


async def test_a49e_bodies_keep_their_characters(wsk: Wsk) -> None:
    stored = await wsk("PUT", "actions/a?overwrite=false", action("a"))

    assert stored.body["exec"]["code"] == CODE["code"]
    assert "<b> & c" in stored.text


async def test_a49f_a_poll_asks_for_the_newest_and_then_for_all_since(
    wsk: Wsk,
) -> None:
    await wsk("PUT", "actions/a?overwrite=false", action("a"))
    await wsk("POST", "actions/a?blocking=true&result=false", {})
    [newest] = (await wsk("GET", "activations?limit=1&docs=true")).body
    since = newest["start"] + 1
    for _ in range(3):
        await wsk("POST", "actions/a?blocking=true&result=false", {})

    polled = await wsk(
        "GET", f"activations?limit=0&skip=0&since={since}&docs=true&name=a"
    )
    last = await wsk("GET", "activations?limit=1&skip=0")

    assert 0 < len(polled.body) <= 3
    assert all(one["response"]["success"] for one in polled.body)
    assert len(last.body) == 1


async def test_a49g_rules_are_switched_by_their_status(wsk: Wsk) -> None:
    await wsk("PUT", "actions/a?overwrite=false", action("a"))
    await wsk("PUT", "triggers/t?overwrite=false", {"name": "t"})
    await wsk("PUT", "rules/r?overwrite=false", {"trigger": "/_/t", "action": "/_/a"})
    for status in ("inactive", "active"):
        switched = await wsk("POST", "rules/r", {"status": status})
        assert switched.text == "OK"
        assert (await wsk("GET", "rules/r")).body["status"] == status
    # rule delete --disable
    await wsk("POST", "rules/r", {"status": "inactive"})
    assert (await wsk("DELETE", "rules/r")).body["status"] == "inactive"


@pytest.mark.parametrize(
    ("flags", "served", "raw"),
    [
        ((True, False, True), 200, False),
        ((True, True, True), 200, True),
        ((False,) * 3, 404, False),
    ],
)
async def test_a81_web_flags_say_what_is_served(
    wsk: Wsk, server: Any, flags: tuple[bool, ...], served: int, raw: bool
) -> None:
    names = ("web-export", "raw-http", "final")
    pairs = zip(names, flags, strict=True)
    annotations = [{"key": name, "value": value} for name, value in pairs]
    await wsk("PUT", "actions/a?overwrite=true", action("a", annotations=annotations))

    answer = await server("GET", "/api/v1/web/guest/default/a.json?x=1", auth=" ")

    assert answer.status == served
    if served == 200:
        assert ("__ow_query" in answer.body) is raw
        assert ("x" in answer.body) is not raw


async def test_a84_an_empty_result_is_an_empty_object(wsk: Wsk) -> None:
    await wsk("PUT", "actions/a?overwrite=false", action("a"))

    answer = await wsk("POST", "actions/a?blocking=true&result=true", {})

    assert (answer.status, answer.body) == (200, {})
