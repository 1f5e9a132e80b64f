"""When a value is worth an event."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.threshold import Crossing, Threshold

VALUES = st.lists(st.floats(0, 1), max_size=60)


def crossings(threshold: Threshold, values: list[float]) -> list[Crossing]:
    return [crossing for value in values for crossing in threshold.update(value)]


def test_the_first_value_fires_nothing() -> None:
    assert crossings(Threshold(0.5, delta=0.1), [0.9]) == []
    assert crossings(Threshold(0.5), [0.9, 0.1]) == [Crossing.FALLEN]


def test_noise_between_low_and_high_fires_nothing() -> None:
    values = [0.1, 0.55, 0.61, 0.59, 0.62, 0.5, 0.41, 0.39, 0.41, 0.59]

    assert crossings(Threshold(0.6, 0.4), values) == [Crossing.RISEN, Crossing.FALLEN]


def test_a_change_counts_from_the_last_one_told() -> None:
    values = [0.0, 0.04, 0.08, 0.12, 0.16, 0.05]

    assert crossings(Threshold(None, delta=0.1), values) == [Crossing.CHANGED]
    assert crossings(Threshold(None, delta=0.05), values) == [Crossing.CHANGED] * 3


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_value_rises_and_falls_in_turn(
    values: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    found = crossings(Threshold(high, low), values)

    assert all(a is not b for a, b in pairwise(found))


@given(VALUES)
def test_what_stays_between_the_thresholds_fires_nothing(values: list[float]) -> None:
    between = [0.4 + value * 0.19 for value in values]

    assert crossings(Threshold(0.6, 0.4), between) == []
