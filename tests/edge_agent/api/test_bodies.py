from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.api.bodies import DEPTH_MOST, check_depth
from edge_agent.model.errors import MalformedContent
from edge_agent.model.limits import SystemLimits
from edge_agent.settings import Server as ServerSettings
from edge_agent.settings import Settings

JSON = {"Content-Type": "application/json"}
MALFORMED = "The request content was malformed:\n"


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_json_may_be_nested_deep_but_not_too_deep() -> None:
    check_depth(nested(DEPTH_MOST))
    with pytest.raises(MalformedContent, match="nested too deeply"):
        check_depth(nested(DEPTH_MOST + 1))


def test_brackets_side_by_side_or_in_strings_are_no_depth() -> None:
    check_depth(b"[" + b",".join([b"[{}]"] * 2000) + b"]")
    check_depth(json.dumps(["[" * 2000, '"' + "{" * 2000]).encode())


@pytest.mark.parametrize("raw", [b"[1,2]", b'"s"', b"null", b"1", b"true"])
async def test_a71_a_payload_is_an_object(server: Any, raw: bytes) -> None:
    await server.put_action()

    answer = await server("POST", "actions/a", raw=raw, headers=JSON)

    assert (answer.status, answer.error) == (400, f"{MALFORMED}JSON object expected")
    assert not answer.has_cors


@pytest.mark.parametrize(
    "raw",
    [
        b"{bad",
        b'{"a":1} x',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":NaN}',
        b" ",
        nested(100_000),
        b"\x00",
    ],
)
async def test_a58_what_is_not_json_is_refused_by_every_route(
    server: Any, raw: bytes
) -> None:
    await server.put_action()
    await server("PUT", "triggers/t", {})

    for method, path in (
        ("POST", "actions/a"),
        ("POST", "triggers/t"),
        ("PUT", "actions/b"),
        ("PUT", "triggers/b"),
        ("PUT", "rules/b"),
        ("PUT", "packages/b"),
        ("POST", "rules/b"),
    ):
        answer = await server(method, path, raw=raw, headers=JSON)
        assert answer.status == 400, path
        assert answer.error.startswith(MALFORMED), path
    assert (await server("GET", "actions?count=true")).body == {"actions": 1}


async def test_b3_of_equal_keys_of_a_payload_the_last_wins(server: Any) -> None:
    await server.put_action(parameters=[{"key": "a", "value": 0}])
    raw = b'{"a":1,"a":2}'

    answer = await server(
        "POST", "actions/a?blocking=true&result=true", raw=raw, headers=JSON
    )

    assert answer.body == {"a": 2}


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        ("text/plain", "text/plain"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
        ("application/json5", "application/json5"),
        ("", "application/octet-stream"),
    ],
)
async def test_a72_a_body_of_another_type_is_415(
    server: Any, content_type: str, shown: str
) -> None:
    await server.put_action()

    for method, path in (("POST", "actions/a"), ("PUT", "actions/b")):
        headers = {"Content-Type": content_type}
        answer = await server(method, path, raw=b"{}", headers=headers)
        assert answer.status == 415
        assert answer.error == (
            f"The request's Content-Type [{shown}] is not supported. "
            "Expected:\napplication/json"
        )


async def test_a72_parameters_of_the_type_are_accepted(server: Any) -> None:
    await server.put_action()
    headers = {"Content-Type": "Application/JSON ; charset=utf-8"}

    answer = await server(
        "POST", "actions/a?blocking=true&result=true", raw=b'{"n":1}', headers=headers
    )

    assert answer.body == {"n": 1}


async def test_a32_no_body_and_an_empty_one_are_an_empty_object(server: Any) -> None:
    await server.put_action()

    for headers in ({}, JSON, {"Content-Type": "text/plain"}):
        answer = await server(
            "POST", "actions/a?blocking=true&result=true", raw=b"", headers=headers
        )
        assert (answer.status, answer.body) == (200, {})


async def test_a56_a_payload_of_a_megabyte_is_accepted_and_no_more(server: Any) -> None:
    await server.put_action()
    limit = 1 << 20
    largest = b'{"p":"' + b"a" * (limit - 8) + b'"}'

    accepted = await server("POST", "actions/a", raw=largest, headers=JSON)
    refused = await server("POST", "actions/a", raw=largest + b" ", headers=JSON)

    assert accepted.status == 202
    assert (refused.status, refused.has_cors) == (413, True)
    assert refused.error == f"Request larger than allowed: {limit + 1} > {limit} bytes."


async def test_a56_a_payload_of_unknown_length_is_cut_off(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(limits=SystemLimits(payload_bytes=1000))
    async with serving(settings) as server:
        await server.put_action()
        packed = gzip.compress(b'{"p":"' + b"a" * 5_000_000 + b'"}')
        headers = JSON | {"Content-Encoding": "gzip"}
        answer = await server("POST", "actions/a", raw=packed, headers=headers)

    assert answer.status == 413


async def test_a7_a_body_above_what_is_read_at_all_is_400_in_plain_text(
    serving: Callable[..., Any],
) -> None:
    settings = Settings(server=ServerSettings(body_bytes=2000))
    async with serving(settings) as server:
        answer = await server("PUT", "actions/a", raw=b"x" * 2001, headers=JSON)

    assert (answer.status, answer.text) == (400, "Request too large")
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"


async def test_a_packed_body_that_cannot_be_unpacked_is_400(server: Any) -> None:
    await server.put_action()
    headers = JSON | {"Content-Encoding": "gzip"}

    answer = await server("POST", "actions/a", raw=b"not gzip", headers=headers)

    assert answer.status == 400
