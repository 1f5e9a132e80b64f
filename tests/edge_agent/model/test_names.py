"""Names: what is legal, and how paths are read."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.errors import IllegalName
from edge_agent.model.names import (
    FullName,
    check_activation_id,
    check_name,
    check_namespace,
    new_activation_id,
)

WORD = "abcXYZ019_"
NAMES = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(WORD),
    st.text(alphabet=f"{WORD} @.&-", max_size=20),
    st.sampled_from(WORD),
)


@pytest.mark.parametrize("name", ["a", "a b", "x@y.z&w-1", "_", "9", "a" * 256])
def test_a10_these_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "a ", " a", "-a", "hi+there", "$hola", "dora?", "é", "a\n", "a/b"]
)
def test_a61_these_are_not(name: str) -> None:
    with pytest.raises(IllegalName, match="illegal characters"):
        check_name(name)


def test_a61_a_long_name_is_measured() -> None:
    with pytest.raises(IllegalName, match=r"longer than allowed: 257 > 256\."):
        check_name("a" * 257)
    with pytest.raises(IllegalName, match=r"Namespace longer than allowed: 300 > 256"):
        check_namespace("a" * 300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("abc", "length is 3 but must be 32"),
        ("A" * 32, "not valid"),
        ("g" * 32, "not valid"),
    ],
)
def test_b32_an_activation_id_is_32_hex_digits(text: str, said: str) -> None:
    with pytest.raises(IllegalName, match=said):
        check_activation_id(text)


def test_b32_a_new_activation_id_is_a_uuid_and_never_the_same() -> None:
    made = {new_activation_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(uuid.UUID(one).version == 7 for one in made)
    assert all(check_activation_id(one) for one in made)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", FullName("me", "a")),
        ("/_/a", FullName("me", "a")),
        ("_/a", FullName("me", "a")),
        ("/ns/a", FullName("ns", "a")),
        ("/ns/pkg/a", FullName("ns", "a", "pkg")),
        ("ns/pkg/a", FullName("ns", "a", "pkg")),
    ],
)
def test_a1_underscore_is_ones_own_namespace(text: str, name: FullName) -> None:
    assert FullName.parse(text, own="me") == name


@pytest.mark.parametrize("text", ["", "/", "/a", "a/b/c/d", "//a", "/ns//a"])
def test_paths_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(IllegalName):
        FullName.parse(text, own="me")


@given(NAMES, NAMES, st.none() | NAMES)
def test_what_is_written_is_read_again(
    namespace: str, name: str, package: str | None
) -> None:
    full = FullName(namespace, name, package)
    assert FullName.parse(f"/{full}", own="me") == full
