"""The decisions about triggers, rules and packages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.engine.catalog_bodies import read_package, read_rule, read_trigger
from edge_agent.engine.catalog_packages import decide_package
from edge_agent.engine.catalog_rules import decide_rule
from edge_agent.engine.catalog_triggers import decide_trigger
from edge_agent.model.entities import Binding, KeyValue, Package, Rule, Trigger
from edge_agent.model.errors import BadRequest, Conflict, MalformedContent
from edge_agent.model.names import FullName

NAME = FullName("guest", "x")


def text(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def trigger(existing: Trigger | None, **fields: Any) -> Trigger:
    return decide_trigger(existing, read_trigger(text(fields)), name=NAME, now_ms=5)


def rule(existing: Rule | None, **fields: Any) -> Rule:
    put = read_rule(text(fields), own="guest")
    return decide_rule(existing, put, name=NAME, now_ms=5)


def package(existing: Package | None, **fields: Any) -> Package:
    return decide_package(
        existing, read_package(text(fields), own="guest"), name=NAME, now_ms=5
    )


def test_a33_an_update_of_a_trigger_replaces_what_is_sent_and_keeps_the_rest() -> None:
    first = trigger(None, parameters=[{"key": "p", "value": 1}], publish=True)
    second = trigger(first, annotations=[{"key": "z", "value": 1}])
    third = trigger(second, annotations=[{"key": "y", "value": 1}])

    assert (third.version, third.publish) == ("0.0.3", True)
    assert third.parameters == first.parameters
    assert third.annotations == [KeyValue(key="y", value=1)]


@pytest.mark.parametrize("feed", [5, "a$b", None, "/a/b/c/d"])
def test_a61f_a_new_triggers_feed_must_be_a_path(feed: Any) -> None:
    annotations = [{"key": "feed", "value": feed}]

    with pytest.raises(BadRequest, match=r"^Feed name is not valid$"):
        trigger(None, annotations=annotations)
    assert trigger(trigger(None), annotations=annotations).version == "0.0.2"


@pytest.mark.parametrize("feed", ["/whisk.system/mqtt/subscribe", "myfeed", "/_/p/f"])
def test_b24_a_simple_name_is_a_feed_too(feed: str) -> None:
    assert trigger(None, annotations=[{"key": "feed", "value": feed}])


@pytest.mark.parametrize("fields", [{}, {"trigger": "/_/t"}, {"action": "/_/a"}])
def test_a61d_a_new_rule_needs_trigger_and_action(fields: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match="requires a valid trigger and a valid action"):
        rule(None, **fields)


def test_a36_a_rule_is_active_and_keeps_its_status_and_what_is_not_sent() -> None:
    first = rule(None, trigger="/_/t", action="/_/p/a", status="inactive")
    inactive = Rule(
        namespace="guest",
        name="x",
        trigger=first.trigger,
        action=first.action,
        active=False,
    )
    second = rule(inactive, trigger="/_/u")

    assert first.active
    assert not second.active
    assert (second.trigger.name, second.action) == ("u", first.action)
    assert (first.action.path, first.action.name) == ("guest/p", "a")


def test_b20_an_update_of_a_package_replaces_its_annotations() -> None:
    first = package(None, annotations=[{"key": "x", "value": 1}])
    second = package(first, annotations=[{"key": "y", "value": 2}])

    assert second.annotations == [KeyValue(key="y", value=2)]
    assert package(second).annotations == second.annotations


def test_b17_a_binding_shows_what_it_is_bound_to_among_its_annotations() -> None:
    bound = {"namespace": "_", "name": "p"}
    made = package(None, binding=bound, annotations=[{"key": "z", "value": 1}])

    assert made.binding == Binding(namespace="guest", name="p")
    assert [a.key for a in made.annotations] == ["z", "binding"]
    assert made.annotation("binding") == {"namespace": "guest", "name": "p"}
    assert package(None, binding={}).binding is None


def test_b20_a_binding_stays_one_and_a_package_becomes_none() -> None:
    made = package(None, binding={"namespace": "other", "name": "p"})

    assert package(made, annotations=[]).annotation("binding") is not None
    assert package(made, binding={}).binding == made.binding
    bound = package(made, binding={"namespace": "_", "name": "q"})
    assert bound.annotation("binding") == {"namespace": "guest", "name": "q"}
    with pytest.raises(Conflict, match="cannot be converted into a binding"):
        package(package(None), binding={"namespace": "_", "name": "q"})


@pytest.mark.parametrize(
    "binding",
    [{"name": "p"}, {"namespace": "_", "name": 1}, {"namespace": "_", "name": "a$"}],
)
def test_a58_a_binding_must_name_a_package(binding: dict[str, Any]) -> None:
    with pytest.raises(MalformedContent):
        package(None, binding=binding)
