"""Against scipy, on samples that are known."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from controller.loadtest.statistics import (
    Estimate,
    binomial_interval,
    bootstrap,
    percentile,
)

numbers = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


@given(numbers, st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], share: float) -> None:
    expected = float(np.quantile(values, share))
    assert percentile(sorted(values), share) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [5, 10, 30])
def test_the_bootstrap_has_the_interval_of_scipy(count: int) -> None:
    chance = random.Random(7)  # noqa: S311
    values = [chance.lognormvariate(3, 0.5) for _ in range(count)]
    ours = bootstrap(values)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.value == statistics.median(values)
    assert ours.low == pytest.approx(theirs.low, abs=0.15 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.15 * spread)


@pytest.mark.parametrize(("failures", "total"), [(0, 50), (1, 1000), (7, 10), (5, 5)])
def test_a_share_has_the_interval_of_scipy(failures: int, total: int) -> None:
    theirs = stats.binomtest(failures, total).proportion_ci(method="wilson")
    assert binomial_interval(failures, total) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-9
    )


def test_of_one_value_nothing_more_is_said() -> None:
    assert bootstrap([3.0]) == Estimate(3.0, 3.0, 3.0)


def test_the_same_values_give_the_same_interval() -> None:
    values = [5.0, 7.0, 6.5, 5.5, 9.0]
    assert bootstrap(values) == bootstrap(values)


def test_intervals_that_touch_are_not_apart() -> None:
    low, high = Estimate(2, 1, 3), Estimate(4, 3, 5)
    assert not low.apart_from(high)
    assert low.apart_from(Estimate(4, 3.01, 5))
    assert Estimate(4, 3.01, 5).apart_from(low)
