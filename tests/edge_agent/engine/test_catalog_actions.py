from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET

from edge_agent.engine.catalog_actions import (
    check_limits,
    decide_action,
    decide_exec,
    is_binary,
)
from edge_agent.engine.catalog_bodies import ActionPut, read_action
from edge_agent.engine.catalog_kinds import accept_kind, manifest
from edge_agent.model.entities import Action, ActionLimits, Exec, KeyValue
from edge_agent.model.errors import BadRequest, MalformedContent
from edge_agent.model.limits import SystemLimits
from edge_agent.model.names import FullName
from edge_agent.sandbox.fake import FakeFactory

LIMITS = SystemLimits()
KINDS = FakeFactory(kinds=("python:3.11", "nodejs:20", "nodejs:18"))
NAME = FullName("guest", "a")
IN_EXEC = "defined in 'exec' for 'nodejs:20' actions"
EXEC = {"kind": "python:3.11", "code": "x"}


def put(**fields: Any) -> ActionPut:
    return read_action(json.dumps(fields).encode())


def decide(existing: Action | None, **fields: Any) -> Action:
    body = put(**fields)
    return decide_action(
        existing,
        body,
        name=NAME,
        exec_=decide_exec(body.exec, KINDS, own="guest") if body.exec else None,
        now_ms=5,
        limits=LIMITS,
    )


def made_exec(**fields: Any) -> Exec:
    body = put(exec=fields)
    assert body.exec is not None
    return decide_exec(body.exec, KINDS, own="guest")


def annotations(action: Action) -> dict[str, Any]:
    return {entry.key: entry.value for entry in action.annotations}


def test_a79_a_new_action_has_the_standard_values() -> None:
    action = decide(None, exec=EXEC)

    assert (action.version, action.publish, action.updated) == ("0.0.1", False, 5)
    assert action.limits == ActionLimits()
    assert annotations(action) == {"provide-api-key": False, "exec": "python:3.11"}


def test_a61b_a_new_action_needs_an_exec() -> None:
    with pytest.raises(BadRequest, match=r"^exec undefined$"):
        decide(None)


def test_b10_the_exec_annotation_is_ours_and_a_given_api_key_one_stays() -> None:
    sent = [
        {"key": "exec", "value": "zzz"},
        {"key": "provide-api-key", "value": True},
    ]

    action = decide(None, exec=EXEC, annotations=sent)

    assert annotations(action) == {"provide-api-key": True, "exec": "python:3.11"}


def test_b10_an_update_does_not_bring_the_api_key_annotation_back() -> None:
    action = decide(decide(None, exec=EXEC), delAnnotations=["provide-api-key"])

    assert annotations(action) == {"exec": "python:3.11"}


def test_b11_what_is_not_sent_is_kept() -> None:
    first = decide(
        None,
        exec=EXEC,
        parameters=[{"key": "a", "value": 1}],
        annotations=[{"key": "n", "value": 1}],
        limits={"timeout": 2000},
        publish=True,
    )

    second = decide(first)

    assert second.version == "0.0.2"
    assert (second.parameters, second.annotations) == (
        first.parameters,
        first.annotations,
    )
    assert (second.limits, second.publish) == (first.limits, True)


def test_b11_annotations_and_limits_are_merged_but_parameters_replaced() -> None:
    first = decide(
        None,
        exec=EXEC,
        parameters=[{"key": "a", "value": 1}],
        annotations=[{"key": "m", "value": 1}, {"key": "n", "value": 1}],
        limits={"timeout": 2000},
    )

    second = decide(
        first,
        parameters=[{"key": "b", "value": 2}],
        annotations=[{"key": "n", "value": 2}],
        delAnnotations=["m"],
        limits={"memory": 128},
    )

    assert second.parameters == [KeyValue(key="b", value=2)]
    assert annotations(second) == {
        "provide-api-key": False,
        "exec": "python:3.11",
        "n": 2,
    }
    assert (second.limits.timeout, second.limits.memory) == (2000, 128)


def test_b2_a_version_that_is_sent_is_taken_and_counted_on_from() -> None:
    first = decide(decide(None, exec=EXEC), version="9.9.9")

    assert first.version == "9.9.9"
    assert decide(first).version == "9.9.10"


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"memory": 64}, "memory size 64 MB below allowed threshold of 128 MB"),
        ({"memory": 4096}, "memory size 4096 MB exceeds allowed threshold of 512 MB"),
        (
            {"timeout": 99},
            "duration 99 milliseconds below allowed threshold of 100 milliseconds",
        ),
        ({"logs": 11}, "log size 11 MB exceeds allowed threshold of 10 MB"),
        ({"concurrency": 2}, "concurrency 2 exceeds allowed threshold of 1"),
        ({"concurrency": 0}, "concurrency 0 below allowed threshold of 1"),
        ({"timeout": 10**30}, None),
    ],
)
def test_a61a_a_limit_out_of_range_is_told(
    limits: dict[str, int], text: str | None
) -> None:
    with pytest.raises(BadRequest) as caught:
        check_limits(put(limits=limits).limits, LIMITS)

    assert text is None or str(caught.value) == f"requirement failed: {text}"
    assert not isinstance(caught.value, MalformedContent)


def test_d13_the_bounds_themselves_are_allowed() -> None:
    for limits in (
        {"timeout": 100, "memory": 128, "logs": 0, "concurrency": 1},
        {"timeout": 300_000, "memory": 512, "logs": 10, "instances": 9},
    ):
        check_limits(put(limits=limits).limits, LIMITS)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("python:3.11", "python:3.11"),
        ("python:3", "python:3"),
        ("nodejs:16", "nodejs:16"),
        ("nodejs:default", "nodejs:20"),
    ],
)
def test_b5_a_kind_is_kept_as_sent_unless_it_is_the_default(
    kind: str, stored: str
) -> None:
    assert accept_kind(kind, KINDS) == stored


@pytest.mark.parametrize(
    "kind", ["cobol:1", "nodejs", "", ":", "builtin", "blackbox:1"]
)
def test_a59_an_unknown_kind_is_told_with_the_valid_ones(kind: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        accept_kind(kind, KINDS)

    assert caught.value.detail == (
        f"The specified runtime '{kind}' is not supported by this platform. Valid "
        "values are: 'python:3.11', 'nodejs:20', 'nodejs:18', 'blackbox', 'sequence'."
    )


def test_the_image_of_a_blackbox_is_no_part_of_a_kind() -> None:
    with pytest.raises(MalformedContent):
        accept_kind("blackbox:us/ours", FakeFactory(kinds=("blackbox:us/ours",)))


def test_a14_the_manifest_marks_the_first_of_a_family_as_default() -> None:
    nodejs = manifest(KINDS)["nodejs"]

    assert [(r.kind, r.default) for r in nodejs] == [
        ("nodejs:20", True),
        ("nodejs:18", False),
    ]


@pytest.mark.parametrize(
    ("code", "binary"),
    [
        ("UEsDBBQ=", True),
        ("eA==", True),
        ("abcd", True),
        ("", False),
        ("abc", False),
        ("ab=d", False),
        ("a===", False),
        ("abcd\n", False),
        ("function main(){}", False),
        ("\u00e9\u00e9\u00e9\u00e9", False),
    ],
)
def test_b6_binary_is_what_looks_like_base64(code: str, *, binary: bool) -> None:
    assert is_binary(code) is binary


def test_b6_a_sent_binary_is_ignored() -> None:
    made = made_exec(kind="nodejs:20", code="function main(){}", binary=True)

    assert made.binary is False


def test_b7_a_blackbox_needs_an_image_but_no_code() -> None:
    made = made_exec(kind="blackbox", image="openwhisk/dockerskeleton")

    assert (made.image, made.code, made.binary) == (
        "openwhisk/dockerskeleton",
        UNSET,
        False,
    )


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            {"kind": "blackbox"},
            "'image' must be a string defined in 'exec' for 'blackbox' actions",
        ),
        (
            {"kind": "nodejs:20"},
            f"'code' must be a string or attachment object {IN_EXEC}",
        ),
        (
            {"kind": "nodejs:20", "code": "", "main": 1},
            f"'main' must be a string {IN_EXEC}",
        ),
        (
            {"kind": "sequence", "components": "x"},
            "'components' must be defined for sequence kind",
        ),
    ],
)
def test_a58b_an_exec_of_wrong_form_is_told(
    fields: dict[str, Any], detail: str
) -> None:
    with pytest.raises(MalformedContent) as caught:
        made_exec(**fields)

    assert caught.value.detail == detail
