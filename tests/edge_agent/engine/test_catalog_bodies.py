from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engine import catalog_bodies as bodies
from edge_agent.model.entities import KeyValue
from edge_agent.model.errors import MalformedContent
from edge_agent.model.names import FullName

NOT_QUALIFIED = (
    "requirement failed: The fully qualified name of the entity must contain at least "
    "the namespace and the name of the entity."
)
NOT_A_NAME = "fully qualified name malformed"
WHOLE = "requirement failed: {} limit must be whole number"


def action(**fields: Any) -> bodies.ActionPut:
    return bodies.read_action(json.dumps(fields).encode())


def rule(**fields: Any) -> bodies.RulePut:
    return bodies.read_rule(json.dumps(fields).encode(), own="guest")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"exec": {"code": "x"}}, "'kind' must be a string defined in 'exec'"),
        ({"exec": {"kind": 1}}, "'kind' must be a string defined in 'exec'"),
        ({"exec": 5}, "JSON object expected"),
        ({"parameters": {"a": 1}}, "parameters malformed!"),
        ({"parameters": [{"key": "a"}]}, "parameters malformed!"),
        ({"parameters": [{"key": 1, "value": 1}]}, "parameters malformed!"),
        ({"parameters": ["a"]}, "parameters malformed!"),
        ({"annotations": "a"}, "parameters malformed!"),
        ({"version": "x"}, "semantic version malformed"),
        ({"version": "1.2.3.4"}, "semantic version malformed"),
        ({"version": "0.0.0"}, "semantic version malformed"),
        ({"version": 1}, "semantic version malformed"),
        ({"limits": 5}, "Object expected in field 'timeout'"),
        ({"limits": {"timeout": "1000"}}, "time limit malformed"),
        ({"limits": {"memory": True}}, "memory limit malformed"),
        ({"limits": {"memory": 256.5}}, WHOLE.format("memory")),
        (
            {"limits": {"logs": -1}},
            "requirement failed: a negative size of an object is not allowed.",
        ),
    ],
)
def test_a58b_a_field_of_wrong_form_is_told(
    fields: dict[str, Any], detail: str
) -> None:
    with pytest.raises(MalformedContent) as caught:
        action(**fields)

    assert caught.value.detail == detail


@pytest.mark.parametrize(
    ("read", "first"),
    [
        (bodies.read_action, "exec"),
        (bodies.read_trigger, "parameters"),
        (partial(bodies.read_package, own="guest"), "binding"),
    ],
)
def test_a58b_an_array_is_told_by_the_first_field(
    read: Callable[[bytes], Any], first: str
) -> None:
    with pytest.raises(MalformedContent) as caught:
        read(b"[1]")

    assert caught.value.detail == f"Object expected in field '{first}'"


@pytest.mark.parametrize("text", ["", "  ", "{", "nul", '{"a":1e999}'])
def test_a58_what_is_not_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedContent):
        bodies.read_action(text.encode())


def test_b4_unknown_and_unsettable_fields_are_ignored() -> None:
    put = action(zzz=1, namespace="elsewhere", name="other", updated=1, exec=None)

    assert put == action()
    assert put.exec is None


def test_b2_a_short_version_is_filled_up() -> None:
    assert [action(version=v).version for v in ("1", "1.2", "1.2.3")] == [
        "1.0.0",
        "1.2.0",
        "1.2.3",
    ]


def test_b3_of_equal_keys_the_last_wins_and_init_is_kept() -> None:
    put = action(
        parameters=[
            {"key": "a", "value": 1},
            {"key": "", "value": None},
            {"key": "a", "value": 2, "init": True},
            {"key": "b", "value": 3, "init": False},
        ]
    )

    assert put.parameters == [
        KeyValue(key="a", value=2, init=True),
        KeyValue(key="", value=None),
        KeyValue(key="b", value=3),
    ]


def test_b5_a_kind_is_trimmed_and_lower_cased() -> None:
    put = action(exec={"kind": " NodeJS:20 ", "code": ""})

    assert put.exec is not None
    assert put.exec.kind == "nodejs:20"


@pytest.mark.parametrize(
    "name",
    ["/_/t", "_/t", "/guest/t", "guest/t", {"path": "_", "name": "t"}],
)
def test_b25_names_in_a_rule_have_many_forms(name: Any) -> None:
    assert rule(trigger=name).trigger == FullName("guest", "t")


def test_b25_a_packaged_action_is_read_from_a_path() -> None:
    expected = FullName("whisk.system", "a", "pub")

    assert rule(action="/whisk.system/pub/a").action == expected
    assert rule(action={"path": "whisk.system/pub", "name": "a"}).action == expected


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("t", NOT_QUALIFIED),
        ("/t", NOT_QUALIFIED),
        (1, NOT_A_NAME),
        ("/a/b/c/d", NOT_A_NAME),
        ("/_/$", NOT_A_NAME),
        ({"path": "_"}, NOT_A_NAME),
        (["_", "t"], NOT_A_NAME),
    ],
)
def test_a58b_a_name_that_is_none_is_told(name: Any, detail: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        rule(trigger=name)

    assert caught.value.detail == detail


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
FIELDS = (
    "exec",
    "parameters",
    "annotations",
    "limits",
    "version",
    "publish",
    "delAnnotations",
    "binding",
    "trigger",
    "action",
    "status",
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES))
def test_a58_any_json_is_read_or_refused_but_never_breaks_anything(
    fields: dict[str, Any],
) -> None:
    body = json.dumps(fields).encode("utf-8", "surrogatepass")
    for read in (
        bodies.read_action,
        bodies.read_trigger,
        partial(bodies.read_package, own="guest"),
        lambda text: bodies.read_rule(text, own="guest"),
        bodies.read_status,
    ):
        with suppress(MalformedContent):
            read(body)
