from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.mapreduce.width import Width


def widths(width: Width, seconds: Callable[[int], float]) -> list[int]:
    """What it comes to, a chunk taking `seconds` of how many go at once."""
    changed = (width.learn(1, seconds(width.now)) for _ in range(2000))
    return [width.now, *(width.now for each in changed if each)]


def test_work_that_waits_gets_every_slot() -> None:
    assert widths(Width(47, 2), lambda _: 1.0) == [4, 8, 16, 32, 47]


def test_work_that_computes_gets_two_chunks_for_each_core() -> None:
    assert widths(Width(47, 2), lambda now: now / 2) == [4, 8, 4]


def test_work_that_does_some_of_both_gets_as_many_as_help() -> None:
    assert widths(Width(64, 1), lambda now: max(1.0, now / 10)) == [2, 4, 8, 16, 8]


@pytest.mark.parametrize("width", [Width(16), Width(3, 4), Width(1, 1)])
def test_all_slots_are_used_where_there_are_few_or_cores_are_untold(
    width: Width,
) -> None:
    assert widths(width, lambda now: now) == [width.slots]


def test_cold_starts_are_not_taken_for_slowness() -> None:
    width = Width(16, 2)
    for _ in range(4):
        width.learn(1, 5.0)
    for _ in range(4):
        width.learn(1, 1.0)
    assert width.now == 8
    for _ in range(8):
        width.learn(1, 3.0)
    for _ in range(8):
        width.learn(1, 1.0)
    assert width.now == 16
