"""Annotations that say how events are delivered: read, checked, laid over another."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.engine.options import OptionsOf, check_options, line_of, read_options
from edge_agent.model.delivery import Failure, Options, RetryPolicy
from edge_agent.model.entities import KeyValue, Reference, Rule, Trigger
from edge_agent.model.errors import BadRequest


def rule(**annotations: Any) -> Rule:
    return Rule(
        namespace="guest",
        name="r",
        trigger=Reference(path="guest", name="t"),
        action=Reference(path="guest", name="a"),
        annotations=[KeyValue(key=k, value=v) for k, v in annotations.items()],
    )


def trigger(**annotations: Any) -> Trigger:
    return Trigger(
        namespace="guest",
        name="t",
        annotations=[KeyValue(key=k, value=v) for k, v in annotations.items()],
    )


def test_without_annotations_everything_is_the_default() -> None:
    assert read_options(rule(), trigger()) == Options()


def test_each_annotation_of_the_rule_wins_over_the_triggers() -> None:
    found = read_options(
        rule(retry={"max": 1, "on": ["timeout"]}),
        trigger(retry={"max": 9}, ttl_ms=500, ordered=True),
    )
    assert found.retry == RetryPolicy(max=1, on=(Failure.TIMEOUT,))
    assert (found.order, found.ttl_ms) == ("", 500)


def test_a_rule_may_leave_the_line_of_its_trigger() -> None:
    assert read_options(rule(ordered=False), trigger(ordered=True)).order is None


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("retry", {"max": -1}, r"'retry\.max'"),
        ("retry", {"max": 101}, r"'retry\.max'"),
        ("retry", {"backoff_ms": "1"}, r"'retry\.backoff_ms'"),
        ("retry", {"jitter": 2}, r"'retry\.jitter'"),
        ("retry", {"on": ["always"]}, r"'retry\.on"),
        ("retry", {"times": 3}, r"'retry'.*times"),
        ("retry", 3, r"'retry'"),
        ("ordered", "a b", r"'ordered'"),
        ("ordered", ".a", r"'ordered'"),
        ("ordered", 1, r"'ordered'"),
        ("ttl_ms", 0, r"'ttl_ms'"),
        ("ttl_ms", "1m", r"'ttl_ms'"),
    ],
)
def test_an_annotation_that_cannot_be_is_refused_by_name(
    key: str, value: Any, named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        check_options(rule(**{key: value}))
    assert read_options(rule(**{key: value}), trigger()) == Options()


@pytest.mark.parametrize(
    ("order", "arguments", "line"),
    [
        ("", b"{}", "guest/r"),
        ("dev", b'{"dev": "k1"}', 'guest/r "k1"'),
        ("body.dev", b'{"body": {"dev": {"id" : 7}}}', 'guest/r {"id":7}'),
        ("body.dev", b'{"body": [1]}', "guest/r ?"),
        ("dev", b"{}", "guest/r ?"),
    ],
)
def test_the_line_is_named_by_the_value_at_the_path(
    order: str, arguments: bytes, line: str
) -> None:
    assert line_of(Options(order=order), "guest/r", arguments) == line


def test_no_annotation_means_no_line() -> None:
    assert line_of(Options(), "guest/r", b"not even JSON") is None


def test_options_are_read_once_for_a_rule_and_anew_when_it_changes() -> None:
    options_of, at = OptionsOf(), trigger()
    first = rule(ttl_ms=1)
    assert options_of(first, at) is options_of(first, at)
    assert options_of(rule(ttl_ms=2), at).ttl_ms == 2
