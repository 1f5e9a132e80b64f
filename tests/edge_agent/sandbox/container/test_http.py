"""Reading what a runtime answers, however its library writes it."""

from __future__ import annotations

import pytest

from edge_agent.sandbox.container.http import AnswerReader, Garbled, HttpAnswer

COUNTED = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX: y\r\n\r\n{"a":1}'
CHUNKED = (
    b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: z\r\n\r\n'
)


def read(*pieces: bytes, limit: int = 100) -> HttpAnswer | None:
    reader = AnswerReader(limit)
    answers = [answer for piece in pieces if (answer := reader.feed(piece))]
    assert len(answers) <= 1
    return answers[0] if answers else None


@pytest.mark.parametrize(("data", "status"), [(COUNTED, 200), (CHUNKED, 502)])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_an_answer_is_read_in_pieces_of_any_size(
    data: bytes, status: int, size: int
) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert read(*pieces) == HttpAnswer(status, b'{"a":1}', 7, keeps_open=True)
    assert read(*pieces[:-1]) is None


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = AnswerReader(100)
    assert reader.end() is None
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\n{") is None
    assert reader.feed(b"}") is None
    assert reader.end() == HttpAnswer(200, b"{}", 2, keeps_open=False)


def test_a_connection_that_ends_within_an_answer_gave_none() -> None:
    reader = AnswerReader(100)
    reader.feed(COUNTED[:-1])
    assert reader.end() is None


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"],
)
def test_a_server_that_will_close_is_believed(head: bytes) -> None:
    answer = read(head + b"Content-Length: 2\r\n\r\n{}")
    assert answer is not None
    assert not answer.keeps_open


def test_an_answer_without_a_body_is_complete() -> None:
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n") == HttpAnswer(204, b"", 0, True)


def test_of_a_long_answer_only_the_start_is_kept_and_all_is_counted() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", b"x" * 50, limit=10)
    assert answer == HttpAnswer(200, b"x" * 11, 50, True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 7000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    ],
)
def test_what_is_no_answer_or_has_no_end_is_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        read(data)
