"""The document at `/api/v1/api-docs` is what is served (A23, A24).

Asked three ways: table against table, by hand, and by schemathesis, which makes up
requests that the document allows and looks whether each status is declared.
"""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from edge_agent.api import router
from edge_agent.api.openapi import make_document
from edge_agent.api.openapi_paths import OPERATIONS, Operation

#: They never end.
STREAMS = ("/edge/v1/activations/stream", "/edge/v1/events/stream")
EXAMPLES = 8
SAMPLES = {
    "namespace": "guest",
    "package": "pkg",
    "name": "a",
    "id": "0" * 32,
    "path": "b/p",
}
TABLES = (
    *router.OPEN.values(),
    *router.KEYED.values(),
    *router.ROUTES.values(),
    *router.NAMED.values(),
    router.WEB,
    router.GATEWAY,
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.method} {o.path}")
def test_a24_what_the_document_says_is_served(operation: Operation) -> None:
    target = router.read_path(operation.path.format(**SAMPLES))

    assert operation.method in target.methods
    within = ("/disable", "/metrics")  # these look at the key themselves
    assert target.keyed is operation.keyed or operation.path in within
    assert not target.illegal


def test_a24_what_is_served_is_in_the_document() -> None:
    documented = {
        (id(target.methods), operation.method)
        for operation in OPERATIONS
        for target in [router.read_path(operation.path.format(**SAMPLES))]
    }
    served = {(id(table), method) for table in TABLES for method in table}

    assert served == documented


def test_a24_every_name_in_the_document_is_defined() -> None:
    text = json.dumps(make_document())
    components = make_document()["components"]["schemas"]
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert named <= components.keys()


async def test_a24_the_document_needs_no_key(server: Any) -> None:
    answer = await server("GET", "/api/v1/api-docs", auth=" ")

    assert answer.body == json.loads(json.dumps(make_document()))
    assert answer.has_cors


async def test_a23_the_pages_are_where_the_redirects_lead(server: Any) -> None:
    for root in ("", "/api/v1"):
        there = await server("GET", f"{root}/docs", auth=" ")
        place = there.headers["Location"]
        page = await server("GET", f"{root}/{place}", auth=" ")

        assert there.status == 308
        assert "<code>/api/v1/namespaces</code>" in page.text
    assert (await server("GET", "/api-docs", auth=" ")).body["openapi"] == "3.1.0"


@pytest.fixture(scope="module")
def schema() -> Any:
    schemathesis = pytest.importorskip("schemathesis")
    return schemathesis.openapi.from_dict(make_document())


#: What deletes comes last: until then the entities are there.
OFFERED = sorted(
    (o for o in OPERATIONS if o.path not in (*STREAMS, "/disable")),
    key=lambda operation: operation.method == "DELETE",
)


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_a24_no_request_has_an_undeclared_answer(schema: Any, agent: Any) -> None:
    """Every operation, a few requests each, to a real agent; half of them hit."""
    auth = tuple(agent.key.split(":"))
    _put_entities(agent, auth)
    for operation in OFFERED:
        _ask(schema[operation.path][operation.method], operation, agent.url, auth)
    assert agent.process.poll() is None
    log = agent.log.read_text()
    assert "Traceback" not in log, log[-3000:]


def _ask(offered: Any, operation: Operation, url: str, auth: Any) -> None:
    @hypothesis.given(case=offered.as_strategy(), aimed=st.booleans())
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def check(case: Any, aimed: bool) -> None:
        if aimed and case.path_parameters:
            case.path_parameters.update(_aim(operation))
        answer = case.call(base_url=url, auth=auth, timeout=10)
        declared = {*operation.answers, *operation.refusals}
        assert answer.status_code in declared, (case.as_curl_command(), answer.text)
        case.validate_response(answer, checks=_checks())

    check()


def _checks() -> tuple[Any, ...]:
    checks = pytest.importorskip("schemathesis.specs.openapi.checks")
    return (checks.response_schema_conformance, checks.content_type_conformance)


def _aim(operation: Operation) -> dict[str, str]:
    """What is there: an action, a trigger, a rule and a package, each in its place."""
    kinds = {"triggers": "t", "rules": "r", "packages": "pkg"}
    name = next((n for kind, n in kinds.items() if f"/{kind}/" in operation.path), "a")
    return {
        key: value
        for key, value in {**SAMPLES, "name": name}.items()
        if f"{{{key}}}" in operation.path
    }


def _put_entities(agent: Any, auth: Any) -> None:
    requests = pytest.importorskip("requests")
    web = {"annotations": [{"key": "web-export", "value": True}]}
    action = {"exec": {"kind": "python:default", "code": "def main(a): return a"}}
    for place, body in {
        "packages/pkg": {},
        "actions/a": {**action, **web},
        "actions/pkg/a": {**action, **web},
        "triggers/t": {},
        "rules/r": {"trigger": "/_/t", "action": "/_/a"},
    }.items():
        url = f"{agent.url}/api/v1/namespaces/_/{place}"
        answer = requests.put(url, json=body, auth=auth, timeout=10)
        assert answer.status_code == 200, answer.text
