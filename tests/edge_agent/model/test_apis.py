from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model.api_documents import (
    completed,
    empty_document,
    operation_name,
    with_operation,
    without,
)
from edge_agent.model.apis import Api, match, read_api
from edge_agent.model.errors import BuiltinError
from edge_agent.model.names import FullName

Document = dict[str, Any]


def endpoint(path: str = "/p", method: str = "GET", **action: Any) -> Document:
    """As wsk sends it (B79)."""
    return {
        "namespace": "_",
        "gatewayBasePath": "/b",
        "gatewayPath": path,
        "gatewayMethod": method,
        "id": "API:_:/b",
        "action": {
            "name": "pkg/a",
            "namespace": "_",
            "backendMethod": method,
            "backendUrl": "http://h/api/v1/web/guest/pkg/a.http",
            "authkey": "secret",
            **action,
        },
    }


def document(*endpoints: Document, base: str = "/b") -> Document:
    made = empty_document(base, None)
    for one in endpoints or (endpoint(),):
        made = with_operation(made, one, extension=".json", own="guest")
    return made


def api(*endpoints: Document, base: str = "/b") -> Api:
    return read_api("guest", document(*endpoints, base=base))


def served(path: str, *apis: Api) -> Any:
    return match({one.base_path: one for one in apis}, path)


def test_b80_an_operation_names_its_action_and_what_it_answers_with() -> None:
    made = document()
    operation = made["paths"]["/p"]["get"]

    assert made["info"] == {"title": "/b", "version": "1.0.0"}
    assert operation["operationId"] == "getP"
    assert operation["x-openwhisk"] == {
        "url": "http://h/api/v1/web/guest/pkg/a.json",
        "namespace": "guest",
        "package": "pkg",
        "action": "a",
    }
    assert "secret" not in str(made)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "/p", "getP"),
        ("post", "/hello/{name}", "postHelloName"),
        ("get", "/", "get"),
        ("delete", "/a-b/C_d.e", "deleteABCDE"),
    ],
)
def test_b84_an_operation_id_is_verb_and_path_in_camel_case(
    method: str, path: str, name: str
) -> None:
    assert operation_name(method, path) == name


def test_b84_operation_ids_are_each_used_once() -> None:
    made = document(endpoint("/a/b"), endpoint("/a-b"), endpoint("/a/b"))

    ids = {made["paths"][path]["get"]["operationId"] for path in ("/a/b", "/a-b")}
    assert len(ids) == 2
    cases = made["x-ibm-configuration"]["assembly"]["execute"][0]["operation-switch"]
    assert len(cases["case"]) == 2


def test_b79_a_secret_belongs_to_its_operation() -> None:
    found = api(
        endpoint("/a", secureKey="s3"), endpoint("/b", secureKey=42), endpoint()
    )

    secrets = {
        operation.template[0]: operation.secret for operation in found.operations
    }
    assert secrets == {"a": "s3", "b": "42", "p": None}


def test_b82_the_last_operation_that_goes_takes_its_path_along() -> None:
    made = document(endpoint("/a"), endpoint("/a", "POST"), endpoint("/b"))

    one = without(made, "/a", "get")
    none = without(one, "/a", "post")

    assert set(one["paths"]["/a"]) == {"post"}
    assert set(none["paths"]) == {"/b"}
    assert set(without(made, "/a", None)["paths"]) == {"/b"}
    assert len(made["paths"]) == 2
    for path, verb in (("/none", None), ("/b", "put"), ("/none", "get")):
        with pytest.raises(BuiltinError, match="does not exist in the API"):
            without(made, path, verb)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gatewayPath": ""},
        {"gatewayPath": "p"},
        {"gatewayPath": 5},
        {"gatewayMethod": "FLY"},
        {"gatewayMethod": None},
        {"action": None},
        {"action": {"name": "a", "namespace": "_"}},
        {"action": {"name": "", "namespace": "_", "backendUrl": "u"}},
        {"action": {"name": "a$b", "namespace": "_", "backendUrl": "u"}},
        {"action": {"name": "a/b/c", "namespace": "_", "backendUrl": "u"}},
    ],
)
def test_b83_what_cannot_be_is_refused(wrong: Document) -> None:
    with pytest.raises(BuiltinError):
        api({**endpoint(), **wrong})


OPENWHISK = {"namespace": "_", "action": "a", "url": "http://h/a.http"}


def swagger(**fields: Any) -> Document:
    paths = {"/p": {"get": {"x-openwhisk": dict(OPENWHISK)}}}
    return {"basePath": "/s", "info": {"title": "S"}, "paths": paths, **fields}


def test_b84_an_uploaded_document_is_completed() -> None:
    named = {"namespace": "_", "package": "p", "action": "a"}
    sent = swagger(paths={"/p/{id}": {"put": {"x-openwhisk": named}, "x-own": 1}})

    made = completed(sent, own="guest", host_url="http://h")
    operation = made["paths"]["/p/{id}"]["put"]

    assert operation["operationId"] == "putPId"
    assert operation["x-openwhisk"]["namespace"] == "guest"
    assert operation["x-openwhisk"]["url"] == "http://h/api/v1/web/guest/p/a.http"
    assert read_api("guest", made).operations[0].action == FullName("guest", "a", "p")


@pytest.mark.parametrize(
    "wrong",
    [
        {"basePath": None},
        {"basePath": "s"},
        {"basePath": "/{s}"},
        {"info": None},
        {"paths": None},
        {"paths": []},
        {"paths": {"p": {}}},
        {"paths": {"/p": 5}},
        {"paths": {"/p": {"get": None}}},
        {"paths": {"/p": {"get": {}}}},
        {"paths": {"/p": {"get": {"x-openwhisk": {"action": "a$"}}}}},
        {"x-ibm-configuration": 5},
        {"x-ibm-configuration": {"assembly": 5}},
        {"x-ibm-configuration": {"assembly": {"execute": [5]}}},
    ],
)
def test_b83_a_document_that_cannot_be_served_is_refused(wrong: Document) -> None:
    with pytest.raises(BuiltinError):
        read_api("guest", swagger(**wrong))


def test_b79_paths_match_by_segments() -> None:
    own = api(endpoint("/p"), endpoint("/p", "POST"), endpoint("/x/{id}/y"))

    assert set(served("/b/p", own).operations) == {"get", "post"}
    assert served("/b/p/", own) is not None
    braces = served("/b/x/a%20b/y", own)
    assert (braces.parameters, braces.path) == ({"id": "a b"}, "/x/a%20b/y")
    for path in ("/b", "/b/", "/", "", "/b/q", "/bp", "/b/x/1", "/b/x/1/y/z"):
        assert served(path, own) is None


def test_b79_the_longest_base_path_and_the_path_without_braces_win() -> None:
    root = api(endpoint("/{any}"), base="/")
    short = api(endpoint("/{any}"), endpoint("/c"), base="/b")
    long = api(endpoint("/{other}"), base="/b/c")

    assert served("/b/c/d", root, short, long).api is long
    assert served("/b/c", root, short, long).parameters == {}
    assert served("/b/x", root, short, long).parameters == {"any": "x"}
    assert served("/y", root, short, long).api is root


@given(path=st.text(max_size=30))
def test_b79_any_path_can_be_asked_for(path: str) -> None:
    found = served(path, api(endpoint("/{any}"), base="/"))

    assert found is None or len(found.parameters) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.just("get"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "basePath": JSON | st.just("/x"),
            "info": JSON,
            "paths": JSON | st.dictionaries(st.just("/p"), JSON, max_size=1),
            "x-ibm-configuration": JSON
            | st.fixed_dictionaries({"assembly": JSON, "cors": JSON}),
        },
    )
)
def test_b83_any_document_is_an_api_or_a_refusal(fields: Document) -> None:
    try:
        made = completed(swagger(**fields), own="guest", host_url="http://h")
        read_api("guest", made)
    except BuiltinError:
        pass
