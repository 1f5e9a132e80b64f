"""What a runtime said, and what that means (c.2 of the contract)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.activations import (
    Answer,
    Cause,
    Gone,
    Response,
    Said,
    Status,
    read_init,
    read_run,
)


def result(response: Response) -> object:
    return json.loads(bytes(response.result))


def run(said: Said, limit: int = 1000) -> Response:
    return read_run(said, timeout_ms=300, response_limit=limit)


def init(said: Said) -> Response | None:
    return read_init(said, timeout_ms=300, response_limit=1000)


@pytest.mark.parametrize("body", [b'{"a":1}', b"{}", b"[1,2]", b'[{"error":1}]'])
def test_c8_an_object_or_array_is_a_success(body: bytes) -> None:
    response = run(Answer(body))
    assert (response.status, response.success) == ("success", True)
    assert bytes(response.result) == body
    assert response.size == len(body)


@pytest.mark.parametrize("error", ["x", 1, True, None, {"a": [1]}])
def test_a83_any_error_value_is_an_application_error(error: object) -> None:
    body = json.dumps({"b": 2, "error": error}).encode()
    response = run(Answer(body))
    assert response.code is Status.APPLICATION_ERROR
    assert result(response) == {"error": error}
    assert response.size == len(body)


@pytest.mark.parametrize("body", [b"", b"5", b'"s"', b"null", b"{", b"\xff"])
def test_c10_anything_else_is_a_developer_error(body: bytes) -> None:
    response = run(Answer(body))
    assert response.code is Status.DEVELOPER_ERROR
    assert "did not produce a valid JSON" in json.dumps(result(response))


def test_c11_a_failed_run_gives_its_error_field() -> None:
    response = run(Answer(b'{"error":"why"}', ok=False))
    assert response.code is Status.DEVELOPER_ERROR
    assert result(response) == {"error": "why"}


@pytest.mark.parametrize(
    ("gone", "status", "text"),
    [
        (
            Gone(Cause.EXITED),
            Status.DEVELOPER_ERROR,
            "The action did not produce a valid response and exited unexpectedly.",
        ),
        (
            Gone(Cause.TIMED_OUT),
            Status.DEVELOPER_ERROR,
            "The action exceeded its time limits of 300 milliseconds.",
        ),
        (
            Gone(Cause.OUT_OF_MEMORY),
            Status.DEVELOPER_ERROR,
            "The action exhausted its memory and was aborted.",
        ),
        (
            Gone(Cause.TOO_LONG, 2000, b'{"a'),
            Status.APPLICATION_ERROR,
            (
                "The action produced a response that exceeded the allowed length: "
                '2000 > 1000 bytes. The truncated response was: {"a'
            ),
        ),
    ],
)
def test_c7_c12_c15_c16_no_answer_says_why(
    gone: Gone, status: Status, text: str
) -> None:
    response = run(gone)
    assert response.code is status
    assert result(response) == {"error": text}


def test_c7_an_answer_over_the_limit_is_cut() -> None:
    response = run(Answer(b'{"a":"%b"}' % (b"x" * 50)), limit=10)
    assert response.code is Status.APPLICATION_ERROR
    assert "58 > 10 bytes" in str(result(response))


def test_c14_a_failed_init_gives_its_error_or_the_text() -> None:
    assert init(Answer(b'{"ok":true}')) is None
    said = init(Answer(b'{"error":"no main"}', ok=False))
    assert said is not None
    assert result(said) == {"error": "no main"}
    said = init(Answer(b"boom", ok=False))
    assert said is not None
    assert result(said) == {"error": "The action failed during initialization: boom"}


def test_c13_c15_an_init_without_an_answer_says_why() -> None:
    exited = init(Gone(Cause.EXITED))
    late = init(Gone(Cause.TIMED_OUT))
    assert exited is not None
    assert late is not None
    assert "did not initialize and exited unexpectedly" in str(result(exited))
    assert "300 milliseconds during initialization." in str(result(late))


@given(st.binary(max_size=200), st.booleans())
def test_every_answer_means_something(body: bytes, ok: bool) -> None:
    response = run(Answer(body, ok))
    assert response.success == (response.code is Status.SUCCESS)
    if not response.success:
        assert set(json.loads(bytes(response.result))) == {"error"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":"\xff"}',
        b'["\xff"]',
    ],
)
def test_c10_what_nobody_could_read_again_is_no_result(body: bytes) -> None:
    for ok in (True, False):
        response = run(Answer(body, ok), limit=1 << 20)
        assert response.code is Status.DEVELOPER_ERROR
        assert "did not produce a valid JSON" in str(result(response))
