"""Frames of an engine, and the sentinel in what they carry (C22)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sandbox.container.output import SENTINEL, Frames, Output
from edge_agent.sandbox.logs import LogCollector

END = SENTINEL + b"\n"


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4) + data


def texts(logs: LogCollector) -> list[str]:
    return [line[31:] for line in logs.take()]


@pytest.fixture
def logs() -> LogCollector:
    logs = LogCollector()
    logs.start(10_000)
    return logs


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary())), st.integers(1, 20))
def test_frames_come_apart_whatever_the_pieces(
    sent: list[tuple[int, bytes]], size: int
) -> None:
    data = b"".join(frame(*one) for one in sent)
    frames = Frames()
    found = {"stdout": b"", "stderr": b""}
    for at in range(0, len(data), size):
        for stream, piece in frames.feed(data[at : at + size]):
            found[stream] += piece
    assert found["stdout"] == b"".join(text for stream, text in sent if stream == 1)
    assert found["stderr"] == b"".join(text for stream, text in sent if stream == 2)


@pytest.mark.parametrize("size", [1, 3, 36, 37, 38, 1000])
def test_the_sentinel_is_found_and_removed_whatever_the_pieces(
    logs: LogCollector, size: int
) -> None:
    output = Output(logs)
    data = frame(1, b"one\nXXX_no\n" + END) + frame(2, b"XXX" + END)
    for at in range(0, len(data), size):
        output.feed(data[at : at + size])
    assert output.complete
    assert texts(logs) == ["stdout: one", "stdout: XXX_no", "stderr: XXX"]


def test_output_is_complete_when_both_streams_have_ended(logs: LogCollector) -> None:
    output = Output(logs)
    output.feed(frame(1, END))
    assert not output.complete
    output.feed(frame(2, END))
    assert output.complete
    output.begin()
    assert not output.complete


def test_a_forged_sentinel_is_none_once_more_follows(logs: LogCollector) -> None:
    output = Output(logs)
    output.feed(frame(2, END) + frame(1, END + b"more\n"))
    assert not output.complete
    output.feed(frame(1, END))
    assert output.complete
    assert texts(logs) == ["stdout: more"]


def test_the_end_of_a_sentinels_line_is_no_line_of_the_next_run(
    logs: LogCollector,
) -> None:
    output = Output(logs)
    output.feed(frame(1, SENTINEL) + frame(2, END))
    assert output.complete
    output.begin()
    output.feed(frame(1, b"\nnext\n"))
    assert texts(logs) == ["stdout: next"]


def test_what_looks_like_the_start_of_a_sentinel_is_not_lost(
    logs: LogCollector,
) -> None:
    output = Output(logs)
    output.feed(frame(1, b"it is XXX_THE_END"))
    output.flush()
    assert texts(logs) == ["stdout: it is XXX_THE_END"]
