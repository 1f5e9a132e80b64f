from __future__ import annotations

import io
import sys

import pytest

from controller.cli.mapreduce_progress import Display, line, scaled
from controller.mapreduce.progress import NodeProgress, NodeState, Progress

NODES = (
    NodeProgress("attic", NodeState.WORKING, 4, 3, 20, 5.71e7, 0),
    NodeProgress("cellar", NodeState.DOWN, 4, 0, 4, 1.2e7, 2, "cannot connect"),
)
HALF_WAY = Progress(
    run="r1",
    chunks=64,
    completed=24,
    in_flight=3,
    retries=2,
    backups=0,
    items=2.4e8,
    items_per_s=6.0e7,
    seconds=4.0,
    nodes=NODES,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.256, "7.26"), (999, "999"), (5.71e7, "57.1 M"), (2e9, "2 G")],
)
def test_big_numbers_get_a_prefix(value: float, text: str) -> None:
    assert scaled(value) == text


def test_a_moment_is_one_line() -> None:
    assert line(HALF_WAY, "points") == (
        "24/64 chunks, 3 in flight, 60 M points/s, 1 of 2 nodes, 2 retries, 7 s left"
    )


def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr, seconds = io.StringIO(), iter(range(13))
    monkeypatch.setattr(sys, "stderr", stderr)
    with Display("points", clock=lambda: next(seconds)) as display:
        for _ in range(12):
            display.show(HALF_WAY)
    assert stderr.getvalue().splitlines() == [line(HALF_WAY, "points")] * 2


def test_on_a_terminal_every_node_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Display("points") as display:
        display.show(HALF_WAY)
    drawn = terminal.getvalue()
    assert line(HALF_WAY, "points") in drawn
    assert "20 chunks, 3 in flight on 4 slots, 57.1 M points/s" in drawn
    assert "cannot connect" in drawn
