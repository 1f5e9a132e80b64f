"""When something is sent again: every case of the table."""

from __future__ import annotations

import pytest

from controller.fleet.retry import NO_RETRY, Retry, may_repeat


@pytest.mark.parametrize(
    ("status", "maybe_done", "idempotent", "expected"),
    [
        (429, False, False, True),
        (503, False, False, True),
        (500, False, True, False),
        (502, False, True, False),
        (404, False, True, False),
        (0, False, False, True),  # the connection was refused
        (0, True, False, False),  # the answer to a POST was lost
        (0, True, True, True),
    ],
)
def test_only_what_is_harmless_is_repeated(
    status: int, maybe_done: bool, idempotent: bool, expected: bool
) -> None:
    assert may_repeat(status, maybe_done=maybe_done, idempotent=idempotent) is expected


def test_waits_double_up_to_the_ceiling_and_then_end() -> None:
    retry = Retry(attempts=5, first_s=0.1, most_s=0.3)
    waits = [retry.wait_s(n, chance=lambda: 1.0) for n in range(1, 6)]
    assert waits == [0.1, 0.2, 0.3, 0.3, None]


def test_the_wish_of_the_host_is_followed_within_reason() -> None:
    retry = Retry(attempts=2, most_s=2.0)
    assert retry.wait_s(1, asked_s=1.5) == 1.5
    assert retry.wait_s(1, asked_s=3600) == 2.0


def test_no_retry_gives_up_at_once() -> None:
    assert NO_RETRY.wait_s(1) is None
