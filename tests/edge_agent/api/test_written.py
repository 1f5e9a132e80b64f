"""Answers on the wire, read without an HTTP client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import encode_basic_auth


@asynccontextmanager
async def connected(server: Any) -> AsyncIterator[Any]:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        # Not `close`, which would first send all that the server does not take.
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_head_has_what_http_wants_and_one_of_each(server: Any) -> None:
    async with connected(server) as (reader, writer):
        writer.write(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")

    status, *lines = head.split("\r\n")
    names = [line.partition(":")[0] for line in lines]
    assert status == "HTTP/1.1 200 OK"
    assert sorted(names) == sorted(
        (
            "Server",
            "Content-Type",
            "X-Request-ID",
            "Content-Length",
            "Date",
            "Connection",
        )
    )
    assert re.search(r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head)
    assert body == "pong"


async def test_a7_an_answer_to_head_has_no_body(server: Any) -> None:
    async with connected(server) as (reader, writer):
        writer.write(b"HEAD /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("version", "line", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
async def test_a_connection_stays_open_as_the_caller_wants(
    server: Any, version: bytes, line: bytes, stays: bool
) -> None:
    request = b"GET /ping HTTP/%b\r\nHost: x\r\n%b\r\n" % (version, line)
    async with connected(server) as (reader, writer):
        for _ in range(2 if stays else 1):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(4) == b"pong"
        if not stays:
            assert await reader.read() == b""

    assert (b"Connection: close" in head) == (not stays and version == b"1.1")
    assert (b"Connection: keep-alive" in head) == (stays and version == b"1.0")


async def test_requests_sent_at_once_are_answered_in_order(server: Any) -> None:
    one = b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-ID: n%d\r\n\r\n"
    async with connected(server) as (reader, writer):
        writer.write(b"".join(one % n for n in range(20)))
        ids = []
        for _ in range(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            ids += re.findall("X-Request-ID: (.*)\r\n", head)
            await reader.readexactly(4)

    assert ids == [f"n{n}" for n in range(20)]


async def test_who_does_not_read_is_not_answered_without_end(server: Any) -> None:
    await server.put_action()
    payload = b'{"p":"' + b"x" * 1_000_000 + b'"}'
    auth = encode_basic_auth(server.guest.uuid, server.guest.key)
    request = (
        b"POST /api/v1/namespaces/_/actions/a?blocking=true HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (auth.encode(), len(payload), payload)
    )

    async with connected(server) as (_, writer):
        for _ in range(40):
            writer.write(request)
        for _ in range(100):
            await asyncio.sleep(0.01)
        answered = len(server.factory.asked("run"))

    assert 0 < answered < 40
