"""The load generator against servers that do as they are told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from controller.bench.load import BenchError, Request, drive

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: Cut everywhere: in the head, between head and body, in the body.
PIECES = [b"HTTP/1.1 200 OK\r\nContent-", b"Length: 5\r\n\r\n", b"wh", b"ole"]


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """`serve([pieces of an answer], ...)`: each is sent to one request, then again."""
    listeners = []

    def start(*answers: list[bytes]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        accept = threading.Thread(target=_accept, args=(listener, answers), daemon=True)
        accept.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/path?query=1"

    yield start
    for listener in listeners:
        listener.close()


def _accept(listener: socket.socket, answers: tuple[list[bytes], ...]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(client, answers), daemon=True).start()


def _talk(client: socket.socket, answers: tuple[list[bytes], ...]) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client:
        number = 0
        while client.recv(65536):
            answer = answers[number % len(answers)]
            number += 1
            if not answer:
                return
            for piece in answer:
                client.sendall(piece)


def test_as_many_as_were_asked_for(serve: Callable[..., str]) -> None:
    measured = drive(Request(serve([OK])), connections=4, count=100, keep=True)
    assert len(measured.latencies_ns) == 100
    assert measured.bodies == [b"ok"] * 100
    assert measured.rate_per_s > 0
    assert 0 < measured.p50_ms <= measured.percentile_ms(0.99)


def test_for_as_long_as_was_asked_for(serve: Callable[..., str]) -> None:
    measured = drive(Request(serve([OK])), connections=2, seconds=0.2)
    assert measured.seconds == 0.2
    assert len(measured.latencies_ns) > 10


def test_an_answer_in_pieces_is_put_together(serve: Callable[..., str]) -> None:
    measured = drive(Request(serve(PIECES)), connections=1, count=10, keep=True)
    assert measured.bodies == [b"whole"] * 10


def test_fewer_questions_than_connections(serve: Callable[..., str]) -> None:
    assert len(drive(Request(serve([OK])), connections=8, count=3).latencies_ns) == 3


def test_the_request_is_plain_http() -> None:
    request = Request(
        "http://host:1/a?b=c", b"{}", method="PUT", authorization="Basic x"
    )
    assert request.wire() == (
        b"PUT /a?b=c HTTP/1.1\r\nHost: host:1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nAuthorization: Basic x\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nfull"], "503 b'full'"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "without Content-Length"),
        ([], "connection closed"),
    ],
)
def test_a_wrong_answer_is_never_measured(
    serve: Callable[..., str], answer: list[bytes], reason: str
) -> None:
    with pytest.raises(BenchError, match=reason):
        drive(Request(serve([OK], answer)), connections=1, count=5)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(BenchError, match="no connection"):
        drive(Request("http://127.0.0.1:1/"), connections=1, count=1)
