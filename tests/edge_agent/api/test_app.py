from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import encode_basic_auth

from edge_agent.settings import Server as ServerSettings
from edge_agent.settings import Settings


async def test_a2_a_transaction_id_is_made_of_32_letters_and_digits(
    server: Any,
) -> None:
    first = await server("GET", "actions/none")
    second = await server("GET", "actions/none")

    ids = {first.headers["X-Request-ID"], second.headers["X-Request-ID"]}
    assert len(ids) == 2
    assert all(re.fullmatch("[A-Za-z0-9]{32}", one) for one in ids)
    assert first.body["code"] == first.headers["X-Request-ID"]


async def test_a2_the_callers_transaction_id_is_used_again(server: Any) -> None:
    answer = await server("GET", "actions/none", headers={"X-Request-ID": "mine-1"})

    assert answer.headers["X-Request-ID"] == answer.body["code"] == "mine-1"


@pytest.mark.parametrize("given", ["sid_balancer", "x" * 257])
async def test_a2_some_transaction_ids_are_not_used_again(
    server: Any, given: str
) -> None:
    answer = await server("GET", "actions/none", headers={"X-Request-ID": given})

    assert answer.body["code"] != given


async def test_a5_a_fault_of_ours_is_a_500_with_json(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    object.__setattr__(server.services.engine, "invoke", broken)
    await server.put_action()

    answer = await server.invoke()

    assert answer.status == 500
    assert answer.error == "There was an internal server error."
    assert answer.body["code"] in caplog.text
    assert "secret detail" in caplog.text


async def test_a6_options_needs_no_key_on_any_path(server: Any) -> None:
    inside = await server("OPTIONS", "/api/v1/nope", auth=" ")
    outside = await server("OPTIONS", "/nope", auth=" ")

    assert (inside.status, inside.text) == (outside.status, outside.text) == (200, "OK")
    methods = "Access-Control-Allow-Methods"
    assert inside.headers[methods] == "GET, DELETE, POST, PUT, HEAD"
    assert outside.headers[methods] == "OPTIONS, GET, POST"


async def test_a7_a_long_uri_is_414_in_plain_text(server: Any) -> None:
    answer = await server("GET", f"actions?foo={'a' * 9000}")

    assert answer.status == 414
    assert answer.text == "URI length exceeds the configured limit of 8192 characters"


async def test_a9_a_caller_that_takes_no_json_gets_no_success(server: Any) -> None:
    refused = await server("GET", "actions", headers={"Accept": "text/html"})
    missing = await server("GET", "actions/none", headers={"Accept": "text/html"})
    both = await server("GET", "actions", headers={"Accept": "text/html, */*;q=0.1"})

    assert (refused.status, refused.has_cors) == (406, False)
    assert refused.error.endswith("only available with these types:\napplication/json")
    assert missing.status == 404
    assert both.status == 200


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/nope", "OPTIONS"),
        ("POST", "/ping", "GET, OPTIONS"),
        ("TRACE", "actions/a", "PUT, GET, DELETE, POST, HEAD, OPTIONS, PATCH"),
    ],
)
async def test_a62_a_method_that_is_not_served(
    server: Any, method: str, path: str, allow: str
) -> None:
    answer = await server(method, path)

    assert answer.status == 405
    assert answer.headers["Allow"] == allow
    assert answer.error == f"HTTP method not allowed, supported methods: {allow}"


async def test_a14_the_root_tells_limits_and_runtimes(server: Any) -> None:
    answer = await server("GET", "/", auth=" ")

    assert answer.body["api_paths"] == ["/api/v1"]
    assert answer.body["limits"]["max_action_memory"] == 512 << 20
    assert answer.body["limits"]["default_max_action_duration"] == 300_000
    (python,) = answer.body["runtimes"]["python"]
    assert python == {
        "kind": "python:3.11",
        "image": "edgewhisk/python:3.11",
        "deprecated": False,
        "default": True,
        "attached": True,
        "requireMain": False,
    }


def _head(server: Any, method: str, path: str, *lines: str) -> bytes:
    auth = encode_basic_auth(server.guest.uuid, server.guest.key)
    head = [f"{method} /api/v1/namespaces/_/{path} HTTP/1.1", "Host: x"]
    head += [f"Authorization: {auth}", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, "", ""]).encode()


@asynccontextmanager
async def _connected(server: Any) -> AsyncIterator[Any]:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a7_a_client_that_asks_before_sending_is_told_to_go_on(
    server: Any,
) -> None:
    await server.put_action()
    body = b'{"n":1}'
    path = "actions/a?blocking=true&result=true"
    lines = ("Expect: 100-continue", "Connection: close", "Content-Length: 7")
    async with _connected(server) as (reader, writer):
        writer.write(_head(server, "POST", path, *lines))
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        await reader.readline()
        writer.write(body)
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(body)


async def test_a7_a_client_that_never_sends_its_body_is_given_up(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(request_timeout_s=0.2))
    async with serving(settings) as server, _connected(server) as (reader, writer):
        writer.write(_head(server, "PUT", "actions/a", "Content-Length: 100"))
        assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"


async def test_a_client_that_hangs_up_leaves_no_traceback(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with _connected(server) as (_, writer):
        writer.write(_head(server, "PUT", "actions/a", "Content-Length: 9") + b"{")
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.1)

    assert "Traceback" not in caplog.text
    assert (await server("GET", "actions")).body == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET /api/v1/namespaces/_/actions?limit=\xff",
        b"GET /api/v1/namespaces/_/actions/\xff\xfe",
        b"GET /api/v1/namespaces/\xff/actions",
        b"GET /api/v1/namespaces/_/actions?limit=%FF&skip=%ZZ",
        b"GET http://elsewhere/api/v1/namespaces/_/actions/%00",
        b"POST /api/v1/namespaces/_/triggers/t",
        b"PUT /api/v1/namespaces/_/actions/a?overwrite=\xc3\x28",
    ],
)
async def test_bytes_that_are_no_text_are_the_callers_fault(
    server: Any, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    odd = b"\r\nX-Request-ID: \xff\xfe\r\nX-Odd: \xff\r\nContent-Type: text/\xff\r\n"
    rest = _head(server, "", "", "Content-Length: 2", "Connection: close")
    lines = [one for one in rest.split(b"\r\n")[1:] if b"Content-Type" not in one]
    async with _connected(server) as (reader, writer):
        writer.write(line + b" HTTP/1.1" + odd + b"\r\n".join(lines) + b"{}")
        answer = await reader.read()

    # What the parser refuses itself it answers in HTTP/1.0.
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer), answer[:200]
    assert "Traceback" not in caplog.text
