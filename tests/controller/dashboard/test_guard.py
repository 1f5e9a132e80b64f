from __future__ import annotations

from dataclasses import replace

import pytest

from controller.dashboard.guard import SESSIONS, Asked, Guard, is_loopback

KEY = "uuid:key"
LOOK = Asked(method="GET", host="127.0.0.1:8765", origin="", cookie="", key="")
CHANGE = replace(LOOK, method="POST", key=KEY)


def guard(*, loopback: bool = True, changes: bool = True) -> Guard:
    return Guard(frozenset({KEY, "uuid:system"}), loopback=loopback, changes=changes)


def status(asked: Asked, given: Guard | None = None) -> int:
    refused = (given or guard()).refusal(asked)
    return 200 if refused is None else refused[0]


def test_looking_is_free_on_loopback() -> None:
    assert status(LOOK, guard(changes=False)) == 200


def test_changing_needs_to_be_allowed_and_the_key() -> None:
    assert status(CHANGE) == 200
    assert status(replace(CHANGE, key="uuid:system")) == 200
    assert status(replace(CHANGE, key="")) == 403
    assert status(replace(CHANGE, key="uuid:other")) == 403
    assert status(CHANGE, guard(changes=False)) == 403
    assert status(replace(CHANGE, method="DELETE", key="")) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.2:1"]
)
def test_pages_of_other_origins_may_not_ask(origin: str) -> None:
    assert status(replace(CHANGE, origin=origin)) == 403
    assert status(replace(LOOK, origin=origin)) == 403


def test_the_page_itself_may() -> None:
    assert status(replace(CHANGE, origin="http://127.0.0.1:8765")) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "", "192.0.2.1"])
def test_a_rebound_name_is_refused_on_loopback(host: str) -> None:
    assert status(replace(LOOK, host=host)) == 421


def test_elsewhere_looking_needs_a_login() -> None:
    outside = guard(loopback=False)
    asked = replace(LOOK, host="192.0.2.1:8765")
    assert status(asked, outside) == 401
    assert outside.login("uuid:other") is None
    session = outside.login(KEY)
    assert session is not None
    assert status(replace(asked, cookie=session), outside) == 200
    assert status(replace(asked, cookie="made up"), outside) == 401


def test_sessions_are_bounded() -> None:
    outside = guard(loopback=False)
    first, *_, last = [outside.login(KEY) for _ in range(SESSIONS + 1)]
    asked = replace(LOOK, host="192.0.2.1")
    assert status(replace(asked, cookie=str(first)), outside) == 401
    assert status(replace(asked, cookie=str(last)), outside) == 200


def test_what_loopback_is() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "pi", "")))  # noqa: S104
