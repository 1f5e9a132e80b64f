"""Throttle, debounce and batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events.pace import (
    BATCH_BYTES,
    TOPICS_MOST,
    Batch,
    BatchOf,
    Debounce,
    Interval,
    Throttle,
)

#: Topic and seconds since the one before.
ARRIVALS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=30)


def times(arrivals: list[tuple[str, float]]) -> list[tuple[str, float]]:
    now, found = 0.0, []
    for topic, gap in arrivals:
        now += gap
        found.append((topic, now))
    return found


@given(ARRIVALS, st.sampled_from(["topic", "trigger"]))
def test_no_two_that_a_throttle_lets_through_are_closer_than_its_interval(
    arrivals: list[tuple[str, float]], by: str
) -> None:
    throttle = Throttle(Interval(1000, by))  # type: ignore[arg-type]
    admitted: dict[str, float] = {}
    for topic, now in times(arrivals):
        key = topic if by == "topic" else ""
        before = admitted.get(key)
        if throttle.admits(topic, now):
            assert before is None or now - before >= 1
            admitted[key] = now
        else:
            assert before is not None
            assert now - before < 1


def test_a_throttle_remembers_a_bounded_number_of_topics() -> None:
    throttle = Throttle(Interval(1000))
    for number in range(TOPICS_MOST + 10):
        assert throttle.admits(str(number), 0)

    assert len(throttle._last_s) == TOPICS_MOST
    assert throttle.admits("0", 0.5)  # forgotten


@given(ARRIVALS)
def test_a_debounce_gives_every_item_back_once(
    arrivals: list[tuple[str, float]],
) -> None:
    debounce: Debounce[int] = Debounce(Interval(1000))
    due: list[int] = []
    replaced: list[int] = []
    for number, (topic, now) in enumerate(times(arrivals)):
        due += debounce.due(now)
        before = debounce.put(topic, number, now)
        if before is not None:
            replaced.append(before)
    due += debounce.due(float("inf"))

    assert sorted(due + replaced) == list(range(len(arrivals)))
    assert len(debounce) == 0
    assert debounce.next_s is None


@given(ARRIVALS)
def test_what_a_debounce_fires_was_quiet_for_its_interval(
    arrivals: list[tuple[str, float]],
) -> None:
    debounce: Debounce[tuple[str, float]] = Debounce(Interval(1000))
    for topic, now in times(arrivals):
        for _, at in debounce.due(now):
            assert now - at >= 0.999_999
        debounce.put(topic, (topic, now), now)


SIZES = st.lists(st.integers(0, BATCH_BYTES), max_size=40)


@given(SIZES, st.integers(1, 10), st.integers(1, 10))
def test_a_batch_keeps_order_and_bounds(sizes: list[int], size: int, most: int) -> None:
    batch: Batch[int] = Batch(BatchOf(size, 100), most=most)
    full: list[list[int]] = []
    for number, size_bytes in enumerate(sizes):
        full += batch.put(number, size_bytes, 0.0)
    full.append(batch.take())

    assert [one for items in full for one in items] == list(range(len(sizes)))
    assert all(len(items) <= min(size, most) for items in full)
    for items in full:
        assert len(items) <= 1 or sum(sizes[one] for one in items) <= BATCH_BYTES


def test_a_batch_is_due_when_its_first_item_has_waited() -> None:
    batch: Batch[str] = Batch(BatchOf(10, 500), most=100)
    assert batch.next_s is None
    batch.put("a", 1, 1.0)
    batch.put("b", 1, 1.4)

    assert batch.next_s == 1.5
    assert batch.take() == ["a", "b"]
    assert batch.next_s is None
