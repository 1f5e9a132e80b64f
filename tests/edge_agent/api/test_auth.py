from __future__ import annotations

import base64
from typing import Any

import pytest

NOT_SUPPLIED = (
    "The resource requires authentication, which was not supplied with the request"
)
INVALID = "The supplied authentication is invalid"
REALM = 'Basic realm="OpenWhisk secure realm",charset=UTF-8'


@pytest.mark.parametrize(
    "header",
    ["Bearer abc", "Basic !!!", "Basic", "Digest x", "Basic \xe9"],
)
async def test_a50_no_readable_basic_credentials(server: Any, header: str) -> None:
    answer = await server("GET", "actions", auth=header)

    assert (answer.status, answer.error) == (401, NOT_SUPPLIED)
    assert answer.headers["WWW-Authenticate"] == REALM
    assert not answer.has_cors


@pytest.mark.parametrize("key", ["bob", "", ":", f"not-a-uuid:{'a' * 64}", "\xff\xfe:"])
async def test_a51_unknown_credentials(server: Any, key: str) -> None:
    coded = base64.b64encode(key.encode("latin-1")).decode()

    answer = await server("GET", "actions", auth=f"Basic {coded} ")

    expected = INVALID if key else NOT_SUPPLIED
    assert (answer.status, answer.error) == (401, expected)


async def test_a25_who_calls_is_asked_before_whether_the_path_exists(
    server: Any,
) -> None:
    nobody = await server("GET", "/api/v1/nope", auth=" ")
    somebody = await server("GET", "/api/v1/nope")

    assert nobody.status == 401
    assert (somebody.status, somebody.error) == (
        404,
        "The requested resource could not be found.",
    )


async def test_a5_the_scheme_is_read_whatever_its_case(server: Any) -> None:
    coded = base64.b64encode(server.guest.auth.encode()).decode()

    assert (await server("GET", "actions", auth=f"bAsIc {coded}")).status == 200
