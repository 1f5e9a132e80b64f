"""Which subscriptions a message is for."""

from __future__ import annotations

from edge_agent.events.routes import CACHE_MOST, Route, Routes
from edge_agent.events.topics import TopicFilter


def routes_of(**filters: str) -> Routes:
    routes = Routes()
    for name, text in filters.items():
        routes.add(Route(name, TopicFilter(text)))
    return routes


def names(routes: Routes, topic: str, *filters: str) -> list[str]:
    identifiers = tuple(routes.identifier(TopicFilter(one)) for one in filters)
    return [route.subscription for route in routes.of(topic, identifiers)]


def test_an_identifier_leads_to_the_subscriptions_of_its_filter() -> None:
    routes = routes_of(one="a/#", two="a/#", three="a/+", four="b")

    assert names(routes, "a/b", "a/#") == ["one", "two"]
    assert names(routes, "a/b", "a/+") == ["three"]
    assert names(routes, "a/b", "a/#", "a/+", "a/#") == ["one", "two", "three"]


def test_without_identifiers_the_topic_decides() -> None:
    routes = routes_of(one="a/#", two="a/+", three="b")

    assert names(routes, "a/b") == ["one", "two"]
    assert names(routes, "c") == []


def test_an_identifier_is_the_same_in_another_life() -> None:
    once = routes_of(x="a/#", y="b").identifier(TopicFilter("a/#"))
    again = routes_of(z="c", x="a/#").identifier(TopicFilter("a/#"))

    assert once == again


def test_a_leftover_of_a_subscription_that_is_gone_is_for_nobody() -> None:
    routes = routes_of(one="a/#", two="b")
    identifier = routes.identifier(TopicFilter("b"))
    routes.remove("two")

    assert routes.of("b", (identifier,)) == ()


def test_a_changed_subscription_is_not_served_from_the_cache() -> None:
    routes = routes_of(one="a")
    assert names(routes, "a") == ["one"]
    routes.add(Route("one", TopicFilter("b")))

    assert names(routes, "a") == []
    assert names(routes, "b") == ["one"]


def test_the_cache_is_bounded() -> None:
    routes = routes_of(one="#")
    for number in range(CACHE_MOST + 10):
        routes.of(f"t/{number}", ())

    assert len(routes._cache) <= CACHE_MOST


def test_with_identifiers_every_filter_is_subscribed_at_its_highest_qos() -> None:
    routes = routes_of(one="a/#", two="a/b")
    routes.add(Route("three", TopicFilter("a/b"), 0))

    wanted = routes.wanted(identifiers=True)

    assert {str(f): qos for f, qos in wanted.items()} == {"a/#": 1, "a/b": 1}


def test_without_identifiers_covered_filters_are_not_subscribed() -> None:
    routes = routes_of(one="a/b", two="a/+/c", three="c")
    for name, text in (("zero", "a/#"), ("four", "+/b")):
        routes.add(Route(name, TopicFilter(text), 0))

    wanted = routes.wanted(identifiers=False)

    assert {str(f): qos for f, qos in wanted.items()} == {"a/#": 1, "c": 1, "+/b": 0}
