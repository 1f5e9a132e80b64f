"""Callers that do not speak HTTP, or speak it slowly, over sockets of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import encode_basic_auth

from edge_agent.api import connection, written
from edge_agent.settings import Server as ServerSettings
from edge_agent.settings import Settings

PING = b"GET /ping HTTP/1.1\r\nHost: node\r\n\r\n"


@asynccontextmanager
async def _connected(
    server: Any,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.close()


async def _ask(server: Any, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what comes before the server hangs up."""
    async with _connected(server) as (reader, writer):
        writer.write(sent)
        return _read(await reader.read())


def _read(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def _fire(server: Any, *lines: str, body: bytes = b"{}") -> bytes:
    auth = encode_basic_auth(*server.guest.auth.split(":", 1))
    head = (
        "POST /api/v1/namespaces/_/triggers/t HTTP/1.1",
        "Host: node",
        f"Authorization: {auth}",
        "Content-Type: application/json",
        "Connection: close",
        *lines,
    )
    return "\r\n".join((*head, "", "")).encode() + body


CHUNKED = "Transfer-Encoding: chunked"
MALFORMED: dict[str, Callable[[Any], bytes]] = {
    "method": lambda _: b"GE\x01T / HTTP/1.1\r\n\r\n",
    "no-http": lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 50,
    "version": lambda _: b"GET / HTTP/3.7\r\n\r\n",
    "header": lambda _: b"GET / HTTP/1.1\r\nHost node\r\n\r\n",
    "nul": lambda _: b"GET / HTTP/1.1\r\nHost: no\0de\r\n\r\n",
    "host": lambda _: b"GET / HTTP/1.1\r\n\r\n",
    "url": lambda _: b"GET http://[::1/ HTTP/1.1\r\nHost: node\r\n\r\n",
    "long-header": lambda _: b"GET / HTTP/1.1\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "many-headers": lambda _: b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 300 + b"\r\n",
    "length": lambda server: _fire(server, "Content-Length: abc"),
    "negative-length": lambda server: _fire(server, "Content-Length: -1"),
    "two-lengths": lambda server: _fire(
        server, "Content-Length: 2", "Content-Length: 3"
    ),
    "length-and-chunks": lambda server: _fire(server, "Content-Length: 2", CHUNKED),
    "chunk": lambda server: _fire(server, CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "later-chunk": lambda server: _fire(server, CHUNKED, body=b"2\r\n{}\r\nzz\r\n\r\n"),
    "gzip": lambda server: _fire(
        server, "Content-Encoding: gzip", "Content-Length: 7", body=b"garbage"
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_a5_what_is_no_http_is_refused_as_everything_is(
    server: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    status, headers, body = await _ask(server, MALFORMED[kind](server))

    assert status == 400
    assert headers["Content-Type"] == "application/json"
    assert headers["Server"].startswith("edgewhisk/")
    told = json.loads(body)
    assert set(told) == {"error", "code"}
    assert told["code"] == headers["X-Request-ID"]
    assert len(told["error"]) < 300
    assert "\n" not in told["error"].removeprefix(
        "The request content was malformed:\n"
    )
    assert "Traceback" not in caplog.text
    assert len(caplog.records) <= 2


async def test_a_connection_serves_many_requests_also_in_small_pieces(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(head_timeout_s=0.3))
    async with serving(settings) as server, _connected(server) as (reader, writer):
        for pause_s in (0.0, 0.2, 0.2):
            writer.write(PING[:20])
            await asyncio.sleep(pause_s)
            writer.write(PING[20:])
            assert (await reader.readuntil(b"pong")).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(0.4)  # between requests there is no head to wait for
        writer.write(PING)
        assert (await reader.readuntil(b"pong")).startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_does_not_come_is_given_up(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(head_timeout_s=0.2))
    async with serving(settings) as server, _connected(server) as (reader, writer):
        for byte in PING[:10]:  # however it dribbles
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        status, headers, body = _read(await reader.read())

    assert status == 408
    assert headers["Connection"] == "close"
    assert set(json.loads(body)) == {"error", "code"}


async def test_who_sends_nothing_is_hung_up_on(serving: Callable[..., Any]) -> None:
    settings = Settings(server=ServerSettings(idle_timeout_s=0.2))
    async with serving(settings) as server, _connected(server) as (reader, _):
        assert await reader.read() == b""


async def test_a7_a_body_that_dribbles_is_given_up(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    settings = Settings(server=ServerSettings(request_timeout_s=0.2))
    async with serving(settings) as server, _connected(server) as (reader, writer):
        writer.write(_fire(server, "Content-Length: 1000", body=b""))
        answer = asyncio.create_task(reader.readuntil(b"}"))
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)

    status, _, body = _read(answer.result())
    assert status == 408
    assert set(json.loads(body)) == {"error", "code"}


async def test_more_connections_than_may_be_take_the_place_of_those_that_wait(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(connections=3))
    async with (
        serving(settings) as server,
        _connected(server) as (first, asking),
        _connected(server) as (_, idle),
    ):
        for writer in (asking, idle):
            writer.write(PING[:20])
        await asyncio.sleep(0.05)
        async with _connected(server) as (reader, writer):
            writer.write(PING)
            assert b"pong" in await reader.readuntil(b"pong")
            assert _read(await _ask_ping(server))[0] == 200
        assert await first.read() == b""


async def _ask_ping(server: Any) -> bytes:
    async with _connected(server) as (reader, writer):
        writer.write(PING)
        return await reader.readuntil(b"pong")


async def test_when_all_connections_are_at_work_one_more_is_told_so(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(connections=1))
    async with serving(settings) as server, _connected(server) as (_, writer):
        writer.write(_fire(server, "Content-Length: 1000", body=b"{"))
        await asyncio.sleep(0.1)
        status, headers, body = await _ask(server, PING)

    assert status == 503
    assert headers["Connection"] == "close"
    assert json.loads(body)["error"] == "Too many connections."


async def test_who_does_not_read_their_answer_is_hung_up_on(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "READING_TIMEOUT_S", 0.3)
    code = "x" * (8 << 20)
    exec_ = {"kind": "python:3.11", "code": code}
    assert (await server("PUT", "actions/large", {"exec": exec_})).status == 200
    auth = encode_basic_auth(*server.guest.auth.split(":", 1))
    async with _connected(server) as (reader, writer):
        writer.write(
            b"GET /api/v1/namespaces/_/actions/large HTTP/1.1\r\nHost: node\r\n"
            b"Authorization: " + auth.encode() + b"\r\n\r\n"
        )
        await asyncio.sleep(0.8)
        read = 0
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                read += len(piece)
        assert read < len(code)


@pytest.mark.parametrize("number", ["1e999", "-1e400", "1.5E+309", '[1, {"b": 9e999}]'])
async def test_a58_a_number_that_nobody_can_hold_is_refused(
    server: Any, number: str
) -> None:
    await server.put_action()
    body = b'{"a":' + number.encode() + b"}"
    answer = await server(
        "POST",
        "actions/a?blocking=true",
        raw=body,
        headers={"Content-Type": "application/json"},
    )

    assert answer.status == 400
    assert answer.error == "The request content was malformed:\nNumber out of range"


@pytest.mark.parametrize("number", ["1e308", '"1e999"', "1e-999", "9" * 400])
async def test_other_numbers_are_taken(server: Any, number: str) -> None:
    await server.put_action()
    body = b'{"a":' + number.encode() + b"}"
    answer = await server(
        "POST",
        "actions/a?blocking=true&result=true",
        raw=body,
        headers={"Content-Type": "application/json"},
    )

    assert answer.status == 200
    assert answer.text == body.decode()


async def test_a_default_parameter_that_nobody_can_hold_is_refused(server: Any) -> None:
    body = b'{"parameters":[{"key":"a","value":[1e999]}]}'
    answer = await server(
        "PUT", "triggers/t", raw=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status == 400
    assert "Number out of range" in answer.error
