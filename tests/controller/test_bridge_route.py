"""Which nodes an event may go to."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from controller.bridge_route import Down, How, RoutePolicy, ranked


@dataclass(frozen=True)
class Node:
    name: str
    away: bool
    load: tuple[float, int]


NODES = st.lists(
    st.builds(
        Node,
        st.text("abcdef", min_size=1, max_size=3),
        st.booleans(),
        st.tuples(st.floats(0, 10), st.integers(0, 5)),
    ),
    max_size=6,
    unique_by=lambda node: node.name,
)
POLICIES = st.builds(RoutePolicy, st.sampled_from(How), st.sampled_from(Down))


@given(POLICIES, NODES, st.text(max_size=3))
def test_nobody_is_asked_who_is_away_and_nobody_twice(
    policy: RoutePolicy, nodes: list[Node], key: str
) -> None:
    order = ranked(policy, nodes, key)

    assert not any(node.away for node in order)
    assert len({node.name for node in order}) == len(order)


@given(st.sampled_from([How.LEAST_LOAD, How.KEY]), NODES, st.text(max_size=3))
def test_another_node_is_found_as_long_as_there_is_one(
    how: How, nodes: list[Node], key: str
) -> None:
    order = ranked(RoutePolicy(how), nodes, key)

    assert {node.name for node in order} == {n.name for n in nodes if not n.away}


@given(NODES, st.text(max_size=3))
def test_a_key_that_waits_has_one_node_whatever_the_loads(
    nodes: list[Node], key: str
) -> None:
    policy = RoutePolicy(How.KEY, Down.WAIT)
    here = [Node(node.name, False, (0, 0)) for node in nodes]

    assert len(ranked(policy, here, key)) == min(1, len(nodes))
    assert ranked(policy, here, key) == ranked(policy, here[::-1], key)


@given(NODES, st.text("xyz", max_size=4))
def test_when_a_node_goes_only_its_own_keys_move(nodes: list[Node], key: str) -> None:
    policy = RoutePolicy(How.KEY)
    here = [Node(node.name, False, (0, 0)) for node in nodes]
    before = ranked(policy, here, key)
    for gone in here:
        after = ranked(policy, [node for node in here if node is not gone], key)
        if before and before[0] is not gone:
            assert after[0] == before[0]


@given(NODES)
def test_the_least_loaded_is_asked_first(nodes: list[Node]) -> None:
    loads = [node.load for node in ranked(RoutePolicy(), nodes, "")]

    assert loads == sorted(loads)
