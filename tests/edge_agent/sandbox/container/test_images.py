"""Names of images: which are allowed, and what is pulled for them."""

from __future__ import annotations

import pytest

from edge_agent.sandbox.container.images import is_allowed, pinned

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
