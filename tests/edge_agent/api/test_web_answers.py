from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.api.web_answers import TRANSCODERS, pretty, transcode
from edge_agent.model.errors import BadRequest, NotFound, RequestError


def http(**result: Any) -> Any:
    return transcode(".http", json.dumps(result).encode(), success=True)


def refused(extension: str, result: Any, *, success: bool = True) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        transcode(extension, json.dumps(result).encode(), success=success)
    return caught.value.status, str(caught.value)


NOT_HTTP = (400, "Response is not valid 'message/http'.")
OTHER_TYPE = (
    400,
    "Response type in header did not match generated content type.",
)


@pytest.mark.parametrize("code", [200, "200", "+200", 200.0, 599, 451])
def test_b70_a_status_is_an_integer_or_a_string_of_one(code: Any) -> None:
    assert http(statusCode=code, body="x").status == int(float(code))


@pytest.mark.parametrize(
    "code",
    [
        *(100, 101, 199, 600, 99, 0, -1, 200.5, 10**30, 1e300),
        *("abc", "", " 200", "2e2", "9" * 400, None, True, [200], {}),
    ],
)
def test_b71_other_statuses_are_refused_and_so_is_a_1xx(code: Any) -> None:
    assert refused(".http", {"statusCode": code, "body": "x"}) == NOT_HTTP


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nSet-Cookie: evil=1"},
        {"X-A": "a\nb"},
        {"X-A": "a\x00b"},
        {"X-A": ["fine", "a\rb"]},
        {"X-A\r\nX-B": "a"},
        {"X A": "a"},
        {"": "a"},
        {"é": "a"},
        {"X-A": {"a": 1}},
        {"X-A": None},
        {"X-A": "a" * 40_000},
        {f"X-{n}": "a" * 100 for n in range(1000)},
        "no",
        [],
        None,
        5,
    ],
)
def test_b71_headers_that_would_split_or_outgrow_the_answer_are_refused(
    headers: Any,
) -> None:
    assert refused(".http", {"body": "x", "headers": headers}) == NOT_HTTP


def test_b70_header_values_may_be_scalars_and_lists() -> None:
    found = http(headers={"A": 1, "B": True, "C": 1.5, "D": ["a=1", 2]}, body="x")

    assert found.headers == (
        ("A", "1"),
        ("B", "true"),
        ("C", "1.5"),
        ("D", "a=1"),
        ("D", "2"),
    )


def test_b70_what_is_the_servers_to_say_is_dropped() -> None:
    headers = {"Content-Length": 5, "Transfer-Encoding": "chunked", "Connection": "x"}

    assert http(headers={**headers, "Date": "x", "Server": "y"}, body="x").headers == ()


@pytest.mark.parametrize(
    ("content_type", "header"),
    [
        (None, "text/html; charset=UTF-8"),
        ("TEXT/Plain;charset=latin1", "text/plain; charset=UTF-8"),
        ("text/x-own", "text/x-own; charset=UTF-8"),
        ("text/csv; header=present", "text/csv; header=present; charset=UTF-8"),
        ("application/xml", "application/xml; charset=UTF-8"),
        ("application/json", "application/json"),
        ("application/own; charset=utf-8", "application/own; charset=UTF-8"),
    ],
)
def test_b70_text_is_always_utf8(content_type: str | None, header: str) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    found = http(headers=headers, body="<é>")

    assert (found.media.header, found.body) == (header, "<é>".encode())


@pytest.mark.parametrize("body", ["AAH/", "AAE"])
def test_b70_binary_types_are_decoded(body: str) -> None:
    found = http(headers={"Content-Type": "application/octet-stream"}, body=body)

    assert found.body[:1] == b"\x00"


@pytest.mark.parametrize("body", ["not base64!", "AAA=A", "A", "AAA==", "é"])
@pytest.mark.parametrize("media", ["image/png", "application/own", "image/svg+xml"])
def test_b71_what_is_no_base64_does_not_match_a_binary_type(
    body: str, media: str
) -> None:
    result = {"headers": {"Content-Type": media}, "body": body}

    assert refused(".http", result) == OTHER_TYPE


@pytest.mark.parametrize("media", ["nonsense", "", "a/b/c", "text/", "a/b; c", "é/x"])
def test_b71_a_content_type_must_be_readable(media: str) -> None:
    result = {"headers": {"Content-Type": media}, "body": "x"}

    assert refused(".http", result)[1] == (
        "Response did not specify a known content-type."
    )


@pytest.mark.parametrize("body", [{"a": 1}, [1], 5, True, False, 1.5])
def test_b71_json_needs_a_json_type(body: Any) -> None:
    result = {"headers": {"Content-Type": "text/html"}, "body": body}

    assert refused(".http", result) == OTHER_TYPE
    assert json.loads(http(body=body).body) == body


@pytest.mark.parametrize("status", [204, 205, 304])
def test_b70_some_statuses_have_no_body(status: int) -> None:
    found = http(statusCode=status, body="x")

    assert (found.status, found.media, found.body) == (status, None, b"")


@pytest.mark.parametrize(
    ("extension", "text"),
    [
        (".html", "Response is not valid 'text/html'."),
        (".svg", "Response is not valid 'image/svg+xml'."),
        (".http", "Response is not valid 'message/http'."),
        (".text", "Response is not valid 'text/plain'."),
    ],
)
def test_a62a_b72_an_array_is_json_and_nothing_else(extension: str, text: str) -> None:
    assert refused(extension, [1, 2]) == (400, text)
    assert json.loads(transcode(".json", b"[1, 2]", success=True).body) == [1, 2]
    assert refused(".json", [1, 2], success=False)[0] == 400


def test_b72_of_text_any_value_is_printed() -> None:
    printed = {
        '{"text":{"a":1}}': '{\n  "a": 1\n}',
        '{"text":[1,{"a":2}]}': '[1, {"a": 2}]',
        '{"text":null}': "null",
        '{"body":"b","text":"t"}': "b",
        '"alone"': "alone",
    }

    for result, text in printed.items():
        found = transcode(".text", result.encode(), success=False)
        assert found.body.decode() == text
    assert refused(".text", {"a": 1})[0] == 404


def test_b75_json_is_spread_over_lines_unless_it_is_long_or_cannot_be() -> None:
    long = json.dumps({"a": "x" * 40_000}).encode()

    assert pretty(b'{"a":1}') == b'{\n  "a": 1\n}'
    assert pretty(long) is long
    assert pretty(b'["\\ud800"]') == b'["\\ud800"]'
    assert pretty(b"[" * 2000 + b"]" * 2000) == b"[" * 2000 + b"]" * 2000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
RESULTS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "statusCode": VALUES | st.integers(90, 700),
        "headers": VALUES | st.dictionaries(st.text(max_size=9), VALUES, max_size=3),
        "body": VALUES,
        "text": VALUES,
    },
)


@given(
    result=RESULTS,
    extension=st.sampled_from(sorted(TRANSCODERS)),
    success=st.booleans(),
)
def test_b71_whatever_an_action_returns_is_an_answer_or_a_refusal(
    result: Any, extension: str, success: bool
) -> None:
    text = json.dumps(result).encode()
    try:
        found = transcode(extension, text, success=success)
    except (BadRequest, NotFound):
        pass
    else:
        assert 200 <= found.status <= 599
        head = "".join(f"{name}: {value}" for name, value in found.headers)
        assert not set(head) & {"\r", "\n", "\0"}
