"""Bytes of the answer channel: whole, in pieces, too many, and none of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.answers import PATIENCE, AnswerReader, Misbehaviour

LIMIT = 64


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"+{}\n", Answer(b"{}")),
        (b'-{"error":"x"}\n', Answer(b'{"error":"x"}', ok=False)),
        (b"+\n", Answer(b"")),
        (b"+" + b"x" * LIMIT + b"\n", Answer(b"x" * LIMIT)),
    ],
)
def test_a_line_is_an_answer(line: bytes, said: Answer) -> None:
    assert AnswerReader(LIMIT).feed(line) == said


@given(
    size=st.integers(0, 2 * LIMIT),
    ok=st.booleans(),
    cuts=st.lists(st.integers(0, 2 * LIMIT + 2)),
)
def test_how_a_line_is_cut_makes_no_difference(
    size: int, ok: bool, cuts: list[int]
) -> None:
    body = (b"abcdefg" * LIMIT)[:size]
    line = (b"+" if ok else b"-") + body + b"\n"
    reader, said, begin = AnswerReader(LIMIT), None, 0
    for cut in [*sorted(c for c in cuts if 0 < c < len(line)), len(line)]:
        if cut > begin:
            assert said is None
            said = reader.feed(line[begin:cut])
            begin = cut
    if size <= LIMIT:
        assert said == Answer(body, ok)
    else:
        assert said == Gone(Cause.TOO_LONG, size, body[:LIMIT])
    assert reader.feed(b"+next\n") == Answer(b"next")


@pytest.mark.parametrize("chunk", [b"\n", b"x{}\n", b"+{}\n+{}\n", b"+{}\n+", b"\n\n"])
def test_other_bytes_are_misbehaviour(chunk: bytes) -> None:
    with pytest.raises(Misbehaviour):
        AnswerReader(LIMIT).feed(chunk)


def test_the_bytes_kept_of_an_endless_answer_are_bounded() -> None:
    reader = AnswerReader(LIMIT)
    for _ in range(PATIENCE):
        assert reader.feed(b"+" * LIMIT) is None
    with pytest.raises(Misbehaviour):
        reader.feed(b"+")
