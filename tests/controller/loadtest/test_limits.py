"""The search, on hosts whose capacity is known."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.loadtest.limits import MOST_STEPS, TRIES, Range, Search
from controller.loadtest.samples import Sample
from controller.loadtest.slo import parse_level
from controller.loadtest.summary import summarize


@given(st.floats(11, 3900))
def test_the_knee_is_where_the_host_ends(capacity: float) -> None:
    knee = Search(
        lambda load: None if load <= capacity else "slow", Range(10, 4000)
    ).run()
    assert knee.high is not None
    assert knee.value <= capacity < knee.high
    assert knee.high / knee.value <= 1.06
    assert knee.reason == "slow"


@given(st.integers(1, 1000))
def test_whole_numbers_are_searched_to_the_last(capacity: int) -> None:
    where = Range(1, 1024, whole=True)
    knee = Search(lambda load: None if load <= capacity else "full", where).run()
    assert knee.value <= capacity
    assert knee.high is not None
    assert knee.high == knee.value + 1 or knee.high / knee.value <= 1.05


def test_a_host_without_an_end_is_said_to_hold_all() -> None:
    knee = Search(lambda _: None, Range(1, 64)).run()
    assert (knee.value, knee.high, knee.reason) == (64, None, None)


def test_a_host_that_holds_nothing_has_no_knee() -> None:
    knee = Search(lambda _: "down", Range(1, 64)).run()
    assert (knee.value, knee.steps) == (0, TRIES)


def test_one_bad_moment_is_no_limit() -> None:
    bad = iter([True])
    knee = Search(
        lambda _: "a hiccup" if next(bad, False) else None, Range(1, 64)
    ).run()
    assert knee.value == 64
    assert knee.low < 64


def test_a_shaky_host_ends_the_search_all_the_same() -> None:
    chance = random.Random(1)  # noqa: S311
    knee = Search(lambda _: chance.choice([None, "shaky"]), Range(1, 1e9)).run()
    assert knee.steps <= MOST_STEPS + 2 * TRIES
    assert knee.low <= knee.value


@pytest.mark.parametrize(("slots", "service_s"), [(1, 0.02), (2, 0.04), (4, 0.01)])
def test_the_knee_of_a_queue_is_near_its_capacity(slots: int, service_s: float) -> None:
    """Calls that come at random, to so many servers that each take the same time."""
    chance = random.Random(3)  # noqa: S311
    level = parse_level("p90<200ms,errors<1%")

    def probe(rate: float) -> str | None:
        calls = queued(rate, 8.0, slots=slots, service_s=service_s, chance=chance)
        return level.broken_by(summarize("x", [calls], open_loop=True))

    knee = Search(probe, Range(10, 4000)).run()
    assert knee.value == pytest.approx(slots / service_s, rel=0.15)


def queued(
    rate: float, seconds: float, *, slots: int, service_s: float, chance: random.Random
) -> list[Sample]:
    free, due, calls = [0.0] * slots, 0.0, []
    while (due := due + chance.expovariate(rate)) < seconds:
        begun = max(due, heapq.heappop(free))
        heapq.heappush(free, begun + service_s)
        ms = (begun + service_s - due) * 1000
        calls.append(Sample("x", due, 0, ms, ms, 200, 1, 0, None, 1, None))
    return calls


def test_the_document_is_what_scripts_rely_on() -> None:
    knee = Search(lambda load: None if load < 30 else "slow", Range(1, 64)).run()
    assert knee.document().keys() == {"value", "low", "high", "broken_by"}
    assert knee.value == pytest.approx(30, rel=0.06)
