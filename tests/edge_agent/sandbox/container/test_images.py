"""Names of images: which are allowed, and what is pulled for them."""

from __future__ import annotations

import pytest

from edge_agent.sandbox.container.images import is_allowed, is_name, pinned

PIN = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "patterns", "allowed"),
    [
        ("openwhisk/a:1", ["openwhisk/*"], True),
        ("evil/a:1", ["openwhisk/*"], False),
        ("a", [], False),
        ("openwhisk/a", ["*", "!openwhisk/*"], False),
        ("b", ["!openwhisk/*", "*"], True),
        ("A/b", ["a/*"], False),
    ],
)
def test_an_image_is_allowed_by_a_pattern_and_by_no_exception(
    name: str, patterns: list[str], allowed: bool
) -> None:
    assert is_allowed(name, patterns) is allowed


@pytest.mark.parametrize(
    ("name", "pin", "pulled"),
    [
        ("a", "", "a:latest"),
        ("a:1", "", "a:1"),
        ("host:5000/a", "", "host:5000/a:latest"),
        ("host:5000/a:1", PIN, f"host:5000/a@{PIN}"),
        ("a", PIN, f"a@{PIN}"),
        (f"a@{PIN}", "", f"a@{PIN}"),
    ],
)
def test_an_image_is_pulled_by_one_tag_or_by_its_digest(
    name: str, pin: str, pulled: str
) -> None:
    assert pinned(name, pin) == pulled


@pytest.mark.parametrize(
    "name",
    ["a", "a/b:1", "ghcr.io/a/b__c-d:1.0", "127.0.0.1:5000/a", f"h.example/a:1@{PIN}"],
)
def test_a_name_is_a_reference(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "../containers/x", "a/../../x", "a//b", "/a", "a?b", "a b", "a%2fb"),
        *("A", "a:", "a:/", "a@sha256:1", "a\n", "x" * 600),
    ],
)
def test_what_might_be_a_path_into_the_engines_api_is_no_name(name: str) -> None:
    assert not is_name(name)
