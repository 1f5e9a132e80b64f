from __future__ import annotations

import pytest

from edge_agent.api import query
from edge_agent.model.errors import BadRequest, MalformedQuery
from edge_agent.model.limits import SystemLimits

LIMITS = SystemLimits()


@pytest.mark.parametrize("text", ["true", "True", "YES", "on", "1"])
def test_a8_true_has_many_spellings(text: str) -> None:
    assert query.flag(f"overwrite={text}", "overwrite")


@pytest.mark.parametrize("text", ["false", "No", "OFF", "0"])
def test_a8_false_has_many_spellings(text: str) -> None:
    assert not query.flag(f"code={text}", "code", default=True)


@pytest.mark.parametrize("text", ["", "code=", "other=1"])
def test_a8_empty_is_the_default(text: str) -> None:
    assert query.flag(text, "code", default=True)


def test_a60_any_other_boolean_is_refused() -> None:
    with pytest.raises(MalformedQuery, match="'maybe' is not a valid Boolean value"):
        query.flag("overwrite=maybe", "overwrite")


def test_a27_a_limit_of_zero_is_the_most() -> None:
    assert query.page("limit=0", "actions", LIMITS).limit == 200
    assert query.page("", "actions", LIMITS).limit == 30


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("limit=201", "The value '201' is not in the range of 0 to 200 for rules."),
        ("limit=-1", "The value '-1' is not in the range of 0 to 200 for rules."),
        ("limit=", "The value '' is not an integer for rules."),
        ("limit=1_0", "The value '1_0' is not an integer for rules."),
        ("limit=%D9%A1", "The value '\u0661' is not an integer for rules."),
        ("skip=9999999999", "The value '9999999999' is not an integer for rules."),
        (
            f"skip={'9' * 5000}",
            f"The value '{'9' * 5000}' is not an integer for rules.",
        ),
        ("skip=-1", "The value '-1' is not greater than or equal to 0 for rules."),
        ("count=2", "'2' is not a valid Boolean value"),
    ],
)
def test_a60_a_page_that_cannot_be_is_told(text: str, detail: str) -> None:
    with pytest.raises(MalformedQuery) as caught:
        query.page(text, "rules", LIMITS)

    assert str(caught.value).endswith(f"was malformed:\n{detail}")


@pytest.mark.parametrize("text", ["0", "60001", "-5", "x", "", "1e3", "9" * 30])
def test_a77_a_wait_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(MalformedQuery, match="up to 60000"):
        query.invoke_query(f"blocking=true&timeout={text}", 60_000)


def test_a32_an_invocation_is_non_blocking_and_waits_a_minute_by_default() -> None:
    assert query.invoke_query("", 60_000) == query.InvokeQuery(False, False, 60_000)
    asked = query.invoke_query("blocking=true&result=True&timeout=5", 60_000)
    assert asked == query.InvokeQuery(True, True, 5)


def test_a45_activations_are_narrowed_by_name_and_time() -> None:
    found = query.activation_filter("name=p/a&since=-1&upto=99&docs=true")

    assert found == query.ActivationFilter("p/a", -1, 99, True)
    assert query.activation_filter("name=").name is None


def test_a45_docs_and_count_exclude_each_other() -> None:
    with pytest.raises(BadRequest, match="'docs' is not permitted with 'count'"):
        query.activation_filter("docs=true&count=true")


@pytest.mark.parametrize("name", ["a/b/c", "$", "a/", "/a"])
def test_a60_a_filter_of_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(MalformedQuery, match="'simple' name"):
        query.activation_filter(f"name={name}")


@pytest.mark.parametrize("text", ["since=abc", "upto=1.5", f"since={'9' * 40}"])
def test_a60_an_instant_is_a_whole_number(text: str) -> None:
    with pytest.raises(MalformedQuery, match="not a valid value for epoch seconds"):
        query.activation_filter(text)


def test_a60_of_equal_parameters_the_first_counts() -> None:
    assert query.parameters("a=1&a=2&b=") == {"a": "1", "b": ""}
