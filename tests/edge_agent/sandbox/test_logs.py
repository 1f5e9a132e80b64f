"""Log lines: their form, their order, their bound."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sandbox.logs import LogCollector, stamp

NOW_NS = 1_704_067_200_123_456_789
AT = "2024-01-01T00:00:00.123456789Z"


def _collector(limit: int = 10_000) -> LogCollector:
    logs = LogCollector(clock=lambda: NOW_NS)
    logs.start(limit)
    return logs


def test_a_stamp_has_thirty_columns() -> None:
    assert stamp(NOW_NS) == AT
    assert len(stamp(1)) == 30


def test_c23_a_line_has_the_form_that_wsk_strips() -> None:
    logs = _collector()
    logs.feed("stdout", b"hi\n")
    logs.feed("stderr", b"oh\n")
    lines = logs.take()
    assert lines == (f"{AT} stdout: hi", f"{AT} stderr: oh")
    assert all(re.match(r"^\S{30} (stdout|stderr): ", line) for line in lines)


def test_streams_do_not_share_their_unfinished_lines() -> None:
    logs = _collector()
    for stream, chunk in [("stdout", b"a"), ("stderr", b"x"), ("stdout", b"b\nc")]:
        logs.feed(stream, chunk)
    assert sorted(logs.take()) == [
        f"{AT} stderr: x",
        f"{AT} stdout: ab",
        f"{AT} stdout: c",
    ]
    assert logs.take() == ()


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    cuts=st.lists(st.integers(1, 200)),
)
def test_how_output_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    data, logs, begin = text.encode(), _collector(1 << 20), 0
    for cut in [*sorted({c for c in cuts if c < len(data)}), len(data)]:
        logs.feed("stdout", data[begin:cut])
        begin = cut
    expected = text.split("\n")
    if not expected[-1]:
        expected.pop()
    assert logs.take() == tuple(f"{AT} stdout: {line}" for line in expected)


def test_c24_nothing_is_kept_with_a_limit_of_zero() -> None:
    logs = _collector(0)
    logs.feed("stdout", b"x\n" * 10)
    assert logs.deaf
    assert logs.take() == ()


@pytest.mark.parametrize("chunk", [b"\n", b"x" * 7, b"long line\n" * 50, b"y" * 500])
def test_c24_a_flood_is_cut_with_one_notice(chunk: bytes) -> None:
    logs = _collector(1000)
    for _ in range(500):
        logs.feed("stdout", chunk)
    *lines, notice = logs.take()
    assert sum(map(len, lines)) <= 1000
    assert lines
    assert notice == (
        f"{AT} stderr: Logs were truncated because the total bytes size "
        "exceeds the limit of 1000 bytes."
    )


def test_the_start_of_a_line_beyond_the_limit_is_kept() -> None:
    logs = _collector(100)
    logs.feed("stdout", b"z" * 5000)
    logs.feed("stdout", b"z" * 5000)
    line, notice = logs.take()
    assert len(line) == 100
    assert line.endswith("zzz")
    assert "truncated" in notice


def test_after_taking_the_limit_is_whole_again() -> None:
    logs = _collector(200)
    for _ in range(3):
        logs.feed("stdout", b"q" * 30 + b"\n")
        assert len(logs.take()) == 1
    for _ in range(100):
        logs.feed("stdout", b"q" * 30 + b"\n")
    assert "truncated" in logs.take()[-1]
    logs.feed("stdout", b"again\n")
    assert logs.take() == (f"{AT} stdout: again",)


def test_what_came_between_two_activations_counts_for_the_next() -> None:
    logs = _collector(200)
    logs.take()
    logs.feed("stdout", b"between\n")
    logs.start(1000)
    logs.feed("stdout", b"during\n")
    assert [line[39:] for line in logs.take()] == ["between", "during"]


def test_lines_are_stamped_when_they_are_read() -> None:
    now = iter(range(NOW_NS, NOW_NS + 100))
    logs = LogCollector(clock=lambda: next(now))
    logs.start(10_000)
    for _ in range(5):
        logs.feed("stdout", b"x\n")
    stamps = [line[:30] for line in logs.take()]
    assert all(a < b for a, b in pairwise(stamps))
