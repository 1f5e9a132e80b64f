"""Lean connections: what a scripted host answers, byte by byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest

from controller.fleet.client import Client, OpenWhiskError
from controller.fleet.retry import NO_RETRY
from controller.fleet.target import Target
from controller.fleet.transport import Late
from tests.certificates import Authority

BODY = (
    b'{"activationId":"%032x","namespace":"guest","name":"a","version":"0.0.1",'
    b'"subject":"guest","start":1,"end":2,"duration":1,"logs":[],"annotations":[],'
    b'"publish":false,"response":{"status":"success","success":true,"result":{"n":1}}}'
)


def whole(body: bytes, *, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n" % (status, len(body), more)
    return head + body


class Host:
    """Says the next of its answers to each request; None: it says nothing."""

    def __init__(self, answers: Iterator[list[bytes] | None]) -> None:
        self.answers = answers
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(
                    head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                )
                self.requests.append(head + await reader.readexactly(length))
                answer = next(self.answers)
                if answer is None:
                    continue
                for part in answer:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if not answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def host(
    *answers: list[bytes] | None, timeout_s: float = 5
) -> AsyncIterator[tuple[Host, Client]]:
    served = Host(chain(answers, repeat([whole(BODY % 1)])))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target(f"http://127.0.0.1:{port}", "a:b")
    async with Client(
        target, retry=NO_RETRY, timeout_s=timeout_s, lean=True, connections=3
    ) as client:
        yield served, client
    server.close()
    await server.wait_closed()


async def test_one_connection_carries_request_after_request() -> None:
    async with host() as (served, client):
        for number in range(5):
            outcome = await client.invoke("a", b'{"n":%d}' % number)
            assert outcome.success
    assert served.connections == 1
    first = served.requests[0]
    assert first.startswith(
        b"POST /api/v1/namespaces/_/actions/a?blocking=true HTTP/1.1"
    )
    assert b"\r\nAuthorization: Basic YTpi\r\n" in first
    assert first.endswith(b'\r\n\r\n{"n":0}')


async def test_many_at_once_take_as_many_connections_as_there_may_be() -> None:
    async with host() as (served, client):
        outcomes = await asyncio.gather(*(client.invoke("a") for _ in range(20)))
    assert all(outcome.success for outcome in outcomes)
    assert served.connections == 3


@pytest.mark.parametrize("size", [1, 7, 60, 100])
async def test_an_answer_may_come_in_pieces(size: int) -> None:
    text = whole(BODY % 1, more=b"X-OpenWhisk-Activation-Id: abc\r\n")
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    async with host(pieces) as (served, client):
        assert (await client.invoke("a")).success
        assert (await client.invoke("a")).success
    assert served.connections == 1


async def test_a_trace_is_told() -> None:
    async with host() as (served, client):
        await client.invoke("a", traceparent="00-x-y-01")
    assert b"\r\ntraceparent: 00-x-y-01\r\n" in served.requests[0]


async def test_a_host_that_closes_is_connected_to_again() -> None:
    closing = [whole(BODY % 1, more=b"Connection: close\r\n")]
    async with host(closing) as (served, client):
        assert (await client.invoke("a")).success
        assert (await client.invoke("a")).success
    assert served.connections == 2


async def test_a_refusal_is_told_with_the_hosts_wish() -> None:
    body = b'{"error":"too many","code":"x"}'
    busy = whole(body, status=b"429 Too Many Requests", more=b"Retry-After: 3\r\n")
    async with host([busy]) as (_, client):
        with pytest.raises(OpenWhiskError, match="too many") as caught:
            await client.invoke("a")
        assert (caught.value.status, caught.value.retry_after_s) == (429, 3)
        assert (await client.invoke("a")).success


async def test_a_connection_that_breaks_may_have_taken_effect() -> None:
    async with host([]) as (_, client):
        with pytest.raises(OpenWhiskError, match="the connection broke") as caught:
            await client.invoke("a")
        assert (caught.value.status, caught.value.maybe_done) == (0, True)
        assert (await client.invoke("a")).success


async def test_what_comes_late_is_no_answer_to_another_request() -> None:
    async with host(None, timeout_s=0.1) as (served, client):
        with pytest.raises(Late):
            await client.invoke("a")
        assert (await client.invoke("a")).success
    assert served.connections == 2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [CHUNKED, b"HTTP/1.1 what\r\n\r\n", whole(b"{}") + b"more", b"x" * 70_000],
    ids=["chunked", "no status", "too long", "no end"],
)
async def test_an_odd_answer_is_lost_and_the_general_client_takes_over(
    answer: bytes,
) -> None:
    async with host([answer]) as (served, client):
        with pytest.raises(OpenWhiskError, match="without its length") as caught:
            await client.invoke("a")
        assert caught.value.maybe_done
        assert (await client.invoke("a")).success
    assert b"Host: 127.0.0.1" in served.requests[1]


async def test_where_nobody_listens_nothing_was_sent() -> None:
    target = Target("http://127.0.0.1:1", "a:b")
    async with Client(target, retry=NO_RETRY, lean=True) as client:
        with pytest.raises(OpenWhiskError, match="cannot connect") as caught:
            await client.invoke("a")
    assert (caught.value.status, caught.value.maybe_done) == (0, False)


@pytest.mark.blocks_loop("the authority is read from its file")
async def test_the_fleets_own_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    ours, other = Authority(), Authority()
    certificate, key = ours.issue("127.0.0.1").write(tmp_path, "host")
    for name, authority in (("ours", ours), ("other", other)):
        await asyncio.to_thread((tmp_path / name).write_text, authority.certificate)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    served = Host(repeat([whole(BODY % 1)]))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=tls)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Client(Target(url, "a:b", ca=tmp_path / "ours"), lean=True) as client:
        assert (await client.invoke("a")).success
    wrong = Target(url, "a:b", ca=tmp_path / "other")
    async with Client(wrong, retry=NO_RETRY, lean=True) as client:
        with pytest.raises(OpenWhiskError, match="cannot connect") as caught:
            await client.invoke("a")
    assert not caught.value.maybe_done
    assert len(served.requests) == 1
    server.close()
