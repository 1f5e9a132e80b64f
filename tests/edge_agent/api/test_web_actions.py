"""Web actions over HTTP; the fake sandbox answers with its arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge_agent.model.activations import Answer
from edge_agent.model.limits import SystemLimits
from edge_agent.settings import Settings

CORS = "Access-Control-Allow-Origin"
ID = "x-openwhisk-activation-id"


async def put_web(
    server: Any,
    name: str = "w",
    *,
    parameters: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    annotations = {"web-export": True, **options}
    await server.put_action(
        name,
        annotations=[
            {"key": key.replace("_", "-"), "value": value}
            for key, value in annotations.items()
        ],
        parameters=[{"key": k, "value": v} for k, v in (parameters or {}).items()],
    )


async def ask(server: Any, path: str, body: Any = None, **options: Any) -> Any:
    """Without a key unless one is given."""
    method = options.pop("method", "GET" if body is None else "POST")
    options.setdefault("auth", "")
    return await server(method, f"/api/v1/web/guest/{path}", body, **options)


def returns(server: Any, result: Any) -> None:
    server.factory.said_to_run = Answer(json.dumps(result).encode())


async def test_b62_a_web_action_needs_no_key_and_runs_as_its_owner(server: Any) -> None:
    await put_web(server)

    answer = await ask(server, "default/w.json/a/b?q=1")
    record = await server.record(answer.headers[ID])

    assert answer.status == 200
    assert answer.body["q"] == "1"
    assert answer.body["__ow_path"] == "/a/b"
    assert record["subject"] == "guest"


async def test_b62_what_is_wrong_with_a_name_is_a_404_without_cors(server: Any) -> None:
    await server.put_action("private")
    await server("PUT", "triggers/t", {})
    await server("PUT", "packages/p", {})

    for path in ("private", "t", "p", "none", "none.json"):
        answer = await ask(server, f"default/{path}")
        assert (answer.status, answer.has_cors) == (404, False)
        assert answer.error == "The requested resource does not exist."
    for path in ("p/none", "t/a", "none/a"):
        answer = await ask(server, path, method="OPTIONS")
        assert (answer.status, answer.has_cors) == (404, False)


async def test_a25_b61_a_url_that_is_none_asks_for_a_key_first(server: Any) -> None:
    for path in ("default", "default/", "a$b/x", "default/a$b", "default/%0a"):
        assert (await ask(server, path)).status == 401
        known = await ask(server, path, auth=None)
        assert known.status == 404
        assert known.error == "The requested resource could not be found."


async def test_b62_package_parameters_and_bindings_work(server: Any) -> None:
    package = {"parameters": [{"key": "pk", "value": 1}]}
    await server("PUT", "packages/p", package)
    await put_web(server, "p/w", parameters={"own": 2})
    binding = {"binding": {"namespace": "_", "name": "p"}}
    await server(
        "PUT", "packages/b", {**binding, "parameters": [{"key": "pk", "value": 3}]}
    )

    direct = await ask(server, "p/w.json")
    bound = await ask(server, "b/w.json")

    assert (direct.body["pk"], direct.body["own"]) == (1, 2)
    assert (bound.body["pk"], bound.body["own"]) == (3, 2)


async def test_b77_the_path_projects_nothing(server: Any) -> None:
    await put_web(server)
    returns(server, {"a": {"b": 1}, "body": {"a": 2}})

    whole = await ask(server, "default/w.json/a/b")
    body = await ask(server, "default/w.http/a")

    assert whole.body == {"a": {"b": 1}, "body": {"a": 2}}
    assert body.body == {"a": 2}


async def test_b64_a_valid_key_names_the_caller_and_is_not_passed_on(
    server: Any,
) -> None:
    await put_web(server)

    known = await ask(server, "default/w.json", auth=None)
    unknown = await ask(server, "default/w.json", auth=f"{server.guest.auth}x")
    odd = await ask(server, "default/w.json", headers={"Authorization": "Bearer t"})

    assert known.body["__ow_user"] == "guest"
    assert "authorization" not in known.body["__ow_headers"]
    for answer in (unknown, odd):
        assert "__ow_user" not in answer.body
        assert "authorization" in answer.body["__ow_headers"]


@pytest.mark.parametrize(
    ("secret", "given", "status"),
    [
        ("s", "s", 200),
        ("s", "S", 401),
        ("s", None, 401),
        ("é", "é", 200),
        (42, "42", 200),
        (42, "42.0", 401),
        (False, None, 200),
        (None, None, 200),
        ({"a": 1}, "{}", 401),
        ([], "", 401),
    ],
)
async def test_b63_a_secret_opens_the_door(
    server: Any, secret: Any, given: str | None, status: int
) -> None:
    await put_web(server, require_whisk_auth=secret)
    headers = {} if given is None else {"X-Require-Whisk-Auth": given}

    answer = await ask(server, "default/w.json", headers=headers)

    assert answer.status == status
    assert answer.has_cors
    assert "WWW-Authenticate" not in answer.headers
    assert (await ask(server, "default/w.json", method="OPTIONS")).status == 200


async def test_b63_true_asks_for_any_valid_key(server: Any) -> None:
    await put_web(server, require_whisk_auth=True)

    assert (await ask(server, "default/w.json")).status == 401
    other = await ask(server, "default/w.json", identity=server.system, auth=None)
    assert other.body["__ow_user"] == "whisk.system"


async def test_b67_final_parameters_and_reserved_ones_stay(server: Any) -> None:
    await put_web(server, final=True, parameters={"k": "v"})
    await put_web(server, "r", raw_http=True, final=True, parameters={"k": "v"})

    for refused in (
        await ask(server, "default/w.json?k=1"),
        await ask(server, "default/w.json", {"k": 1}),
        await ask(server, "default/w.json?__ow_user=me"),
    ):
        assert (refused.status, refused.has_cors) == (400, True)
        assert ID not in refused.headers
    raw = await ask(server, "default/r.json?k=1")
    assert (raw.body["k"], raw.body["__ow_query"]) == ("v", "k=1")


async def test_b68_a_long_wait_is_a_202(serving: Callable[..., Any]) -> None:
    limits = msgspec.structs.replace(SystemLimits(), blocking_wait_ms=50)
    async with serving(Settings(limits=limits)) as server:
        server.factory.run_s = 0.3
        await put_web(server)

        answer = await ask(server, "default/w.json")

        assert (answer.status, answer.error) == (202, "Response not yet ready.")
        assert answer.has_cors
        assert (await server.record(answer.headers[ID]))["response"]["success"]


async def test_b69_options_are_answered_without_the_action(server: Any) -> None:
    await put_web(server)
    await put_web(server, "own", web_custom_options=True, require_whisk_auth=True)
    returns(server, {"headers": {"X-M": "mine"}})

    standard = await ask(
        server,
        "default/w.http",
        method="OPTIONS",
        headers={"Access-Control-Request-Headers": "x-one"},
    )
    own = await ask(server, "default/own", method="OPTIONS")

    assert (standard.status, standard.text) == (200, "")
    assert standard.headers["Access-Control-Allow-Headers"] == "x-one"
    assert ID not in standard.headers
    assert (own.headers["X-M"], own.has_cors) == ("mine", False)
    assert (await ask(server, "default/own")).status == 401


async def test_b69_the_actions_own_cors_replaces_ours(server: Any) -> None:
    await put_web(server)
    own = {"access-control-allow-origin": "https://a.b"}
    returns(server, {"body": "x", "headers": own})

    answer = await ask(server, "default/w")

    assert answer.headers.getall(CORS) == ["https://a.b"]
    assert "Access-Control-Allow-Methods" in answer.headers


async def test_b70_a_result_cannot_split_the_answer(server: Any) -> None:
    await put_web(server)
    returns(server, {"body": "x", "headers": {"X": "a\r\nSet-Cookie: evil=1"}})

    answer = await ask(server, "default/w")

    assert answer.status == 400
    assert answer.error == "Response is not valid 'message/http'."
    assert "Set-Cookie" not in answer.headers


async def test_b70_headers_may_be_any_text_and_statuses_unknown(server: Any) -> None:
    await put_web(server)
    headers = {"X-E": "é", "Set-Cookie": ["a=1", "b=2"]}
    returns(server, {"statusCode": 299, "headers": headers, "body": "x"})

    answer = await ask(server, "default/w")

    assert (answer.status, answer.headers["X-E"]) == (299, "é")
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("status", [204, 304])
async def test_b70_an_answer_without_a_body_leaves_the_connection_usable(
    server: Any, status: int
) -> None:
    await put_web(server)
    returns(server, {"statusCode": status, "body": "not sent"})

    for _ in range(2):
        answer = await ask(server, "default/w")
        assert (answer.status, answer.text) == (status, "")


async def test_b73_what_breaks_is_a_400_that_says_little(server: Any) -> None:
    await put_web(server)
    server.factory.said_to_run = Answer(b'{"error": "secret"}', ok=False)

    answer = await ask(server, "default/w.json")

    assert (answer.status, answer.has_cors) == (400, True)
    assert answer.error == "There was an error processing your request."
    assert answer.headers[ID]


async def test_b73_an_error_is_transcoded_too(server: Any) -> None:
    await put_web(server)
    returns(server, {"error": {"statusCode": 403, "body": {"no": 1}}})

    answer = await ask(server, "default/w")

    assert (answer.status, answer.body) == (403, {"no": 1})


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("text/*", 200),
        ("text/html", 200),
        ("text/html;q=0", 406),
        ("application/json", 406),
        ("application/json, */*;q=0.1", 200),
        ("*/*, text/html;q=0", 406),
    ],
)
async def test_b74_accept_is_honoured_after_the_run(
    server: Any, accept: str, status: int
) -> None:
    await put_web(server)
    returns(server, {"html": "x"})

    answer = await ask(server, "default/w.html", headers={"Accept": accept})

    assert answer.status == status
    if status == 406:
        assert answer.error.endswith("types:\ntext/html; charset=UTF-8")
        assert ID not in answer.headers
        assert not answer.has_cors


async def test_b75_head_runs_the_action_and_json_is_spread_over_lines(
    server: Any,
) -> None:
    await put_web(server)

    head = await ask(server, "default/w.json", method="HEAD")
    record = await server.record(head.headers[ID])
    missing = await ask(server, "default/none")

    assert (head.status, head.text) == (200, "")
    assert int(head.headers["Content-Length"]) > 0
    assert record["response"]["result"]["__ow_method"] == "head"
    assert '{\n  "error"' in missing.text


async def test_b76_more_than_a_megabyte_is_a_413_without_cors(server: Any) -> None:
    await put_web(server)
    await put_web(server, "r", raw_http=True)

    for name in ("w", "r"):
        answer = await ask(
            server, f"default/{name}", raw=b"x" * ((1 << 20) + 1), method="POST"
        )
        assert (answer.status, answer.has_cors) == (413, False)
        assert answer.error == ("Request larger than allowed: 1048577 > 1048576 bytes.")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "application/json"}, b"{bad"),
        ({"Content-Type": "application/json"}, b'{"a":"\xff"}'),
        ({"Content-Type": "application/json"}, b"[" * 100_000),
    ],
)
async def test_b65_malformed_bodies_are_400_without_cors(
    server: Any, headers: dict[str, str], body: bytes
) -> None:
    await put_web(server)

    answer = await ask(server, "default/w", raw=body, headers=headers, method="POST")

    assert (answer.status, answer.has_cors) == (400, False)
    assert answer.error.startswith("The request content was malformed:\n")


async def test_b65_bytes_that_are_no_text_reach_the_action_as_question_marks(
    server: Any,
) -> None:
    await put_web(server)
    reader, writer = await asyncio.open_connection(*_place(server.url))
    try:
        writer.write(
            b"POST /api/v1/web/guest/default/w.json/%ff?q=%ff HTTP/1.1\r\n"
            b"Host: x\r\nX-Odd: \xff\xfe\r\nContent-Type: \xff\r\n"
            b"Access-Control-Request-Headers: \xff\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\n\xff\xfe"
        )
        answer = await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"x-odd": "??"' in answer
    assert (await ask(server, "default/w.json")).status == 200


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
