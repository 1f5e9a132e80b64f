from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.api.web_request import (
    RESERVED,
    Asked,
    arguments,
    header_fields,
    read_options,
    split_extension,
)
from edge_agent.model.entities import Action, Exec, KeyValue
from edge_agent.model.errors import BadRequest, MalformedContent
from edge_agent.model.names import FullName


def asked(query: str = "", path: str = "", **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(FullName("guest", "a"), ".http", "post", path, query, named)


def given_to(
    what: Asked, body: bytes = b"", *, raw: bool = False, final: str = ""
) -> Any:
    keys = frozenset(final.split())
    return json.loads(arguments(what, body, raw=raw, final=keys, user=None))


@pytest.mark.parametrize(
    ("segment", "parts"),
    [
        ("a", ("a", ".http")),
        ("a.json", ("a", ".json")),
        ("a.b.text", ("a.b", ".text")),
        ("a.foo", ("a.foo", ".http")),
        ("a.JSON", ("a.JSON", ".http")),
        (".json", (".json", ".http")),
        ("a.", ("a.", ".http")),
    ],
)
def test_b61_only_known_extensions_are_none_of_the_name(
    segment: str, parts: tuple[str, str]
) -> None:
    assert split_extension(segment) == parts


def test_b64_the_body_wins_over_the_query_and_the_last_of_equal_keys_counts() -> None:
    found = given_to(
        asked("a=1&b=2&b=3&e=", content_type="application/json"), b'{"a":[2]}'
    )

    assert (found["a"], found["b"], found["e"]) == ([2], "3", "")


@pytest.mark.parametrize(
    ("media", "body", "seen"),
    [
        ("application/json", b'"s"', "s"),
        ("application/json; charset=utf-8", b"[1]", [1]),
        ("application/json", b" 5 ", 5),
        ("text/plain", b"\xff", "\ufffd"),
        ("text/plain; charset=utf-16", b"hi", "hi"),
        ("application/xml", b"<a/>", "<a/>"),
        ("application/pdf", b"hi", "aGk="),
        ("application/own; charset=utf-8", b"hi", "hi"),
        ("image/svg+xml", b"hi", "aGk="),
        ("multipart/form-data; boundary=b", b"hi", "aGk="),
        ("no type", b"hi", "aGk="),
    ],
)
def test_b65_what_is_no_object_is_the_body(media: str, body: bytes, seen: Any) -> None:
    assert given_to(asked(content_type=media), body)["__ow_body"] == seen


def test_b65_a_form_is_merged_and_no_type_is_octets() -> None:
    form = asked("q=0", content_type="application/x-www-form-urlencoded")

    found = given_to(form, b"a=1&b=x+y&a=2&c&%ff=%zz")

    assert {k: v for k, v in found.items() if k not in RESERVED} == {
        "q": "0",
        "a": "2",
        "b": "x y",
        "c": "",
        "\ufffd": "%zz",
    }
    untyped = given_to(asked(), b"hi")
    assert untyped["__ow_headers"] == {"content-type": "application/octet-stream"}


@pytest.mark.parametrize(
    "body",
    [b"{bad", b'{"a":1', b"", b"{}x", b'{"a":"\xff"}', b"\xff", b"[" * 9000, b"nul"],
)
def test_b65_malformed_json_is_refused(body: bytes) -> None:
    if body:
        with pytest.raises(MalformedContent):
            given_to(asked(content_type="application/json"), body)
    else:
        assert "__ow_body" not in given_to(asked(content_type="application/json"))


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_b67_reserved_properties_are_refused_unless_raw(name: str) -> None:
    typed = asked(content_type="application/json")
    form = asked(content_type="application/x-www-form-urlencoded")
    for what, body in (
        (asked(f"{name}=1"), b""),
        (typed, json.dumps({name: 1}).encode()),
        (form, f"{name}=1".encode()),
    ):
        with pytest.raises(BadRequest):
            given_to(what, body)
        assert given_to(what, body, raw=True)["__ow_method"] == "post"


def test_b67_defined_parameters_of_a_final_action_are_refused() -> None:
    with pytest.raises(BadRequest):
        given_to(asked("k=1"), final="k j")
    assert given_to(asked("l=1"), final="k j")["l"] == "1"


@pytest.mark.parametrize(
    ("media", "text"),
    [
        ("application/json", False),
        ("application/ld+json", False),
        ("application/hal+json", False),
        ("application/problem+json", True),
        ("application/vnd.api+json", True),
        ("application/json-patch+json", True),
        ("text/html", True),
        ("application/octet-stream", False),
    ],
)
def test_b66_a_raw_body_is_text_or_base64(media: str, text: bool) -> None:
    found = given_to(asked("a=1&a=%20", content_type=media), b"hi", raw=True)

    assert found["__ow_body"] == ("hi" if text else "aGk=")
    assert found["__ow_query"] == "a=1&a=%20"


def test_b66_raw_without_anything_is_empty_strings() -> None:
    found = given_to(asked(), raw=True)

    assert (found["__ow_query"], found["__ow_body"]) == ("", "")


def test_b64_names_of_headers_are_lower_case() -> None:
    sent = {"X-Thing": "A", "Content-Length": "5", "Authorization": "b"}

    assert header_fields(sent, without=frozenset()) == {
        "x-thing": "A",
        "authorization": "b",
    }
    hidden = frozenset(("authorization",))
    assert "authorization" not in header_fields(sent, without=hidden)


@pytest.mark.parametrize("value", ["true", 1, None, [True]])
def test_b14_b15_only_true_switches_a_web_annotation_on(value: Any) -> None:
    keys = ("web-export", "raw-http", "web-custom-options")

    def options(value: Any) -> Any:
        return read_options(
            Action(
                namespace="guest",
                name="a",
                exec=Exec(kind="python:3.11"),
                annotations=[KeyValue(key=key, value=value) for key in keys],
            )
        )

    assert options(True)[:3] == (True, True, True)
    assert options(value)[:3] == (False, False, False)


TEXTS = st.text(st.characters(min_codepoint=1), max_size=40)


@given(
    query=TEXTS,
    path=TEXTS,
    media=TEXTS | st.sampled_from(["application/json", "text/x", "a/b; charset=q"]),
    body=st.binary(max_size=60),
    raw=st.booleans(),
)
def test_b65_whatever_is_sent_becomes_arguments_or_a_refusal(
    query: str, path: str, media: str, body: bytes, raw: bool
) -> None:
    what = asked(query, path, content_type=media, x_odd="\udcff")
    try:
        found = given_to(what, body, raw=raw)
    except BadRequest:
        assert not raw
    else:
        assert found["__ow_headers"]["x-odd"] == "?"
