"""The table is the test: every pair of state and event is either here or illegal."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.pool.lifecycle import (
    TRANSITIONS,
    Event,
    IllegalEvent,
    State,
    advance,
)

LEGAL = {
    ("new", "sit"): "ready",
    ("new", "start"): "starting",
    ("starting", "started"): "prewarmed",
    ("starting", "fail"): "removing",
    ("prewarmed", "init"): "initializing",
    ("prewarmed", "remove"): "removing",
    ("prewarmed", "fail"): "removing",
    ("initializing", "run"): "running",
    ("initializing", "fail"): "removing",
    ("ready", "run"): "running",
    ("ready", "remove"): "removing",
    ("ready", "fail"): "removing",
    ("running", "done"): "ready",
    ("running", "fail"): "removing",
    ("removing", "removed"): "gone",
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_of_state_and_event_is_as_the_table_says(
    state: State, event: Event
) -> None:
    expected = LEGAL.get((state.value, event.value))
    if expected is not None:
        assert advance(state, event) == expected
        return
    with pytest.raises(IllegalEvent) as raised:
        advance(state, event)
    assert (raised.value.state, raised.value.event) == (state, event)
    assert str(raised.value) == f"a sandbox that is {state} has no event {event}"


def test_every_state_is_in_the_table_and_is_reachable() -> None:
    reached = {State.NEW}
    while more := {n for s in reached for n in TRANSITIONS[s].values()} - reached:
        reached |= more
    assert set(TRANSITIONS) == set(State) == reached


def test_every_state_but_gone_can_end() -> None:
    for state in set(State) - {State.GONE}:
        reached = {state}
        while more := {n for s in reached for n in TRANSITIONS[s].values()} - reached:
            reached |= more
        assert State.GONE in reached


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.GONE] = {}  # type: ignore[index]


@given(st.lists(st.sampled_from(Event)))
def test_any_run_of_events_moves_only_as_the_table_says(events: list[Event]) -> None:
    state = State.NEW
    for event in events:
        before = state
        try:
            state = advance(state, event)
        except IllegalEvent:
            assert (before, event) not in LEGAL
            assert state is before
        else:
            assert LEGAL[before, event] == state
