"""What a composition does next: the forms of B55, boxing, names, errors, limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engine import conductors
from edge_agent.engine.conductors import Budget, Finish, Invoke, Tell
from edge_agent.model.activations import Status, failure, success
from edge_agent.model.names import FullName

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def read(result: Any, *, components: int = 0) -> conductors.Step:
    return conductors.read_result(
        success(json.dumps(result).encode(), size=7),
        own="guest",
        budget=Budget(components=components),
        limit=50,
    )


def finished(step: conductors.Step) -> Any:
    assert isinstance(step, Finish)
    assert step.response.success
    return json.loads(bytes(step.response.result))


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"any": 1}, {"any": 1}),
        ({"params": {"a": 1}, "state": {"s": 1}}, {"a": 1}),
        ({"params": 7}, {"value": 7}),
        ({"params": None}, {"value": None}),
        ([1, "b"], [1, "b"]),
        ({}, {}),
    ],
)
def test_b55_a_result_without_an_action_ends_the_composition(
    result: Any, answer: Any
) -> None:
    assert finished(read(result)) == answer


def test_b55_a_result_with_an_action_goes_on() -> None:
    step = read({"action": "a", "params": 7, "state": "x"})

    assert step == Invoke(FullName("guest", "a"), b'{"value":7}', b'{"state":"x"}')
    assert read({"action": "a"}) == Invoke(FullName("guest", "a"), b"{}", None)


def test_b56_a_conductor_that_fails_ends_the_composition_without_a_size() -> None:
    response = failure(Status.APPLICATION_ERROR, "no", size=14)
    step = conductors.read_result(response, own="g", budget=Budget(), limit=50)

    assert step == Finish(failure(Status.APPLICATION_ERROR, "no"))


@pytest.mark.parametrize(
    ("result", "state", "payload"),
    [
        ({"a": 1, "k": 0}, {"k": 1}, {"a": 1, "k": 1}),
        ({"a": 1}, None, {"a": 1}),
        ([1], {"k": 1}, {"value": [1], "k": 1}),
        ({"error": "bad"}, {"k": 1}, {"error": "bad", "k": 1}),
    ],
)
def test_b56_the_next_payload_is_the_result_under_the_state(
    result: Any, state: Any, payload: Any
) -> None:
    given_state = None if state is None else json.dumps(state).encode()
    told = conductors.next_payload(json.dumps(result).encode(), given_state)

    assert json.loads(told) == payload


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a", FullName("guest", "a")),
        ("p/a", FullName("guest", "a", "p")),
        ("/ns/a", FullName("ns", "a")),
        ("/_/a", FullName("guest", "a")),
        ("/ns/p/a", FullName("ns", "a", "p")),
        ("ns/p/a", FullName("ns", "a", "p")),
        ("/a", None),
        ("/a/b/c/d", None),
        ("a$b", None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_b57_names_of_components(name: Any, found: FullName | None) -> None:
    assert conductors.read_name(name, own="guest") == found


@pytest.mark.parametrize("value", ["a$b", 5, None, {"a": 1}])
def test_b59_a_name_that_cannot_be_is_told_as_it_was_sent(value: Any) -> None:
    compact = json.dumps(value, separators=(",", ":"))

    assert read({"action": value, "state": {"s": 1}}) == Tell(
        f"Failed to parse action name from json value {compact} during composition.",
        b'{"s": 1}',
    )


def test_b58_no_component_beyond_the_limit_and_no_conductor_beyond_twice_that() -> None:
    assert isinstance(read({"action": "a"}, components=49), Invoke)
    assert read({"action": "a"}, components=50) == Tell(conductors.TOO_MANY, None)
    assert conductors.may_conduct(Budget(conductors=100), limit=50)
    assert not conductors.may_conduct(Budget(conductors=101), limit=50)


@given(JSON | st.fixed_dictionaries({"action": JSON, "params": JSON, "state": JSON}))
def test_any_result_is_a_step_and_any_payload_an_object(result: Any) -> None:
    if not isinstance(result, dict | list):
        result = {"x": result}
    step = read(result)

    if not isinstance(step, Finish):
        told = conductors.next_payload(b"[]", step.state)
        assert isinstance(json.loads(told), dict)
    if isinstance(step, Invoke):
        assert isinstance(json.loads(step.payload), dict)
