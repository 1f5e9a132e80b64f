from __future__ import annotations

import pytest

from controller.loadtest.samples import Sample
from controller.loadtest.summary import summarize, timeline


def call(
    at_s: float, ms: float = 10.0, *, error: str | None = None, **known: float
) -> Sample:
    late = known.get("late", 0.0)
    init = known.get("init")
    return Sample("x", at_s, late, ms, ms - late, 200, 100, 1, init, 8, error)


def test_rates_are_of_calls_that_ended_well() -> None:
    calls = [call(n / 10, error="no" if n % 2 else None) for n in range(100)]
    summary = summarize("x", [calls], open_loop=False)
    assert summary.rate_per_s.value == pytest.approx(5, rel=0.1)
    assert (summary.requests, summary.failures) == (100, 50)
    assert summary.errors == {"no": 50}


def test_percentiles_are_over_all_calls_failed_ones_too() -> None:
    calls = [call(n / 100, ms=float(n)) for n in range(1, 101)]
    summary = summarize("x", [calls], open_loop=True)
    assert summary.loop == "open"
    assert summary.latency["p50_ms"].value == pytest.approx(50.5)
    assert summary.latency["p99_ms"].value == pytest.approx(99.01)
    assert summary.max_ms == 100
    assert summary.tail_to_median == pytest.approx(99.01 / 50.5)


def test_an_interval_holds_its_value() -> None:
    repetitions = [
        [call(n / 10, ms=base + n % 7) for n in range(50)] for base in (5, 9)
    ]
    for estimate in summarize("x", repetitions, open_loop=False).latency.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_what_the_host_says_is_kept_apart_from_cold_starts() -> None:
    calls = [call(0, 40, init=30.0), *(call(n / 10) for n in range(1, 10))]
    summary = summarize("x", [calls], open_loop=False)
    assert summary.cold == 1
    assert (summary.wait_ms, summary.init_ms, summary.run_ms) == (1, 30, 8)
    assert summary.overhead_share == pytest.approx(0.2)


def test_a_generator_that_sends_late_is_told() -> None:
    calls = [call(n / 10, 30, late=20.0) for n in range(10)]
    assert summarize("x", [calls], open_loop=True).overloaded
    assert not summarize(
        "x", [[call(n / 10) for n in range(9)]], open_loop=True
    ).overloaded


def test_a_second_without_a_call_is_there_all_the_same() -> None:
    seconds = timeline([call(100.0), call(100.4, 30.0), call(102.2, error="no")])
    assert [each.requests for each in seconds] == [2, 0, 1]
    assert seconds[0].p50_ms == pytest.approx(20)
    assert seconds[1].p99_ms is None
    assert seconds[2].failures == 1
