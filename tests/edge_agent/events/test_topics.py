"""Topics and filters: section 4.7 of MQTT 5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edge_agent.events.topics import Topic, TopicError, TopicFilter

LEVEL = st.sampled_from(["a", "b", "$c", "", "long level", "ü"])
NAMES = st.lists(LEVEL, min_size=1, max_size=4)
TOPICS = NAMES.map("/".join).filter(bool)
WILD = st.lists(LEVEL | st.just("+"), min_size=1, max_size=4)
FILTERS = st.builds(
    lambda levels, rest: "/".join([*levels, "#"] if rest else levels),
    WILD,
    st.booleans(),
).filter(bool)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b", "a", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("/+", "/a", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$share/g/a/+", "a/b", True),
        ("$share/g/#", "$SYS/x", False),
        ("A", "a", False),
    ],
)
def test_a_filter_matches(topic_filter: str, topic: str, expected: bool) -> None:
    assert TopicFilter(topic_filter).matches(topic) is expected


@given(FILTERS, TOPICS)
def test_filters_match_as_paho_has_it(topic_filter: str, topic: str) -> None:
    expected = topic_matches_sub(topic_filter, topic)

    assert TopicFilter(topic_filter).matches(topic) is expected


@given(FILTERS, FILTERS, TOPICS)
def test_what_a_filter_covers_it_matches(one: str, other: str, topic: str) -> None:
    if TopicFilter(one).covers(TopicFilter(other)) and TopicFilter(other).matches(
        topic
    ):
        assert TopicFilter(one).matches(topic)


@given(FILTERS)
def test_a_filter_covers_itself(text: str) -> None:
    assert TopicFilter(text).covers(TopicFilter(text))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#", "a/+", True),
        ("#", "$SYS/a", False),
        ("a/#", "a", True),
        ("a/+", "a/b", True),
        ("a/b", "a/+", False),
        ("a/+", "a/#", False),
        ("a/+", "+/b", False),
        ("$share/g/#", "a", False),
        ("#", "$share/g/a", False),
    ],
)
def test_covers(one: str, other: str, expected: bool) -> None:
    assert TopicFilter(one).covers(TopicFilter(other)) is expected


def test_a_shared_filter_has_a_group() -> None:
    assert TopicFilter("$share/pool/a/b").group == "pool"
    assert TopicFilter("$shared/pool").group is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("a/#/b", "level 2 is '#'; # stands alone and last"),
        ("a/b#", "level 2 is 'b#'; # stands alone and last"),
        ("a+/b", "level 1 is 'a+'; + stands for a whole level"),
        ("a\0b", "has a null at character 2"),
        ("a\ud800", "character 2 cannot be sent as UTF-8"),
        ("x" * 70_000, "has 70000 bytes, 65535 are allowed"),
        ("$share", "$share/GROUP/FILTER"),
        ("$share/g", "$share/GROUP/FILTER"),
        ("$share/g/", "$share/GROUP/FILTER"),
        ("$share//a", "$share/GROUP/FILTER"),
        ("$share/g+/a", "the group 'g+' must be a name"),
        (7, "must be text"),
    ],
)
def test_an_illegal_filter_says_where_and_what(text: str, problem: str) -> None:
    with pytest.raises(TopicError, match=r"^topic filter ") as raised:
        TopicFilter(text)

    assert problem in str(raised.value)


@pytest.mark.parametrize("text", ["a/+", "#", "a#b", "", "\0"])
def test_a_topic_has_no_wildcards(text: str) -> None:
    with pytest.raises(TopicError, match=r"^topic "):
        Topic(text)


@pytest.mark.parametrize("text", ["$share/hall/a", "$share", "$SYS/broker/uptime"])
def test_nothing_is_published_to_what_is_the_brokers_own(text: str) -> None:
    with pytest.raises(TopicError, match="the broker's own"):
        Topic(text)
    assert str(Topic("$shared/a")) == "$shared/a"


@given(st.text(max_size=12))
def test_any_text_is_a_filter_or_a_clear_error(text: str) -> None:
    try:
        TopicFilter(text)
    except TopicError as error:
        assert str(error)  # noqa: PT017 both ends are right


FILTERS = st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=3).flatmap(
    lambda levels: st.sampled_from(
        [TopicFilter("/".join(levels)), TopicFilter("/".join([*levels, "#"]))]
    )
)
TOPICS = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(FILTERS, FILTERS, st.lists(TOPICS, min_size=20))
def test_filters_that_share_a_topic_cross_or_one_covers_the_other(
    one: TopicFilter, other: TopicFilter, topics: list[str]
) -> None:
    both = any(one.matches(topic) and other.matches(topic) for topic in topics)
    covered = one.covers(other) or other.covers(one)

    assert one.crosses(other) == other.crosses(one)
    assert not (covered and one.crosses(other))
    assert not both or covered or one.crosses(other)
