from __future__ import annotations

import pytest

from edge_agent.api import actions, activations, namespaces, packages, service
from edge_agent.api.router import read_path

BASE = "/api/v1/namespaces/ns"


@pytest.mark.parametrize(
    ("path", "handler", "package", "name"),
    [
        (f"{BASE}/actions", actions.list_all, None, ""),
        (f"{BASE}/actions/", actions.list_all, None, ""),
        (f"{BASE}/actions/a", actions.get, None, "a"),
        (f"{BASE}/actions/a%20b", actions.get, None, "a b"),
        (f"{BASE}/actions/p/", actions.list_package, None, "p"),
        (f"{BASE}/actions/p/a", actions.get, "p", "a"),
        (f"{BASE}/packages/p", packages.get, None, "p"),
        (f"{BASE}/limits/", namespaces.limits, None, ""),
        (f"{BASE}/activations/{'0' * 32}/", activations.get, None, "0" * 32),
        (f"{BASE}/activations/{'0' * 32}/logs", activations.get_logs, None, "0" * 32),
        ("/api/v1", service.api_info, None, ""),
        ("/", service.info, None, ""),
    ],
)
def test_a13_a_path_is_read_with_its_trailing_slash(
    path: str, handler: object, package: str | None, name: str
) -> None:
    target = read_path(path)

    assert target.methods["GET"] is handler
    assert (target.package, target.name, target.illegal) == (package, name, "")


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/nope",
        f"{BASE}",
        f"{BASE}/",
        f"{BASE}/actions/a/b/c",
        f"{BASE}/actions//a/b",
        f"{BASE}/triggers/t/",
        f"{BASE}/packages/p/",
        f"{BASE}/rules/r/x",
        f"{BASE}/activations/{'0' * 32}/foo",
        f"{BASE}/activations/{'0' * 32}/logs/",
        f"{BASE}/activations/{'0' * 32}/list",
        f"{BASE}/limits/list",
        "/api/v1/nope",
        "/api/v1/namespaces//",
        "/edge/v1/nope",
    ],
)
def test_a62_what_is_no_route_has_no_methods_but_wants_a_key(path: str) -> None:
    target = read_path(path)

    assert not target.methods
    assert target.keyed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{BASE}/actions/$", "The name of the entity contains illegal characters."),
        (
            f"{BASE}/actions/a%2Fb",
            "The name of the entity contains illegal characters.",
        ),
        (f"{BASE}/actions/%FF", "The name of the entity contains illegal characters."),
        (
            f"{BASE}/actions/p%00/a",
            "The name of the entity contains illegal characters.",
        ),
        (
            f"{BASE}/actions/{'a' * 257}",
            "Name segement longer than allowed: 257 > 256.",
        ),
        (f"{BASE}/activations/abc", "Activation id length is 3 but must be 32."),
        (f"{BASE}/activations/{'G' * 32}", "The activation id is not valid."),
        (
            "/api/v1/namespaces/a$b/actions",
            "The namespace contains illegal characters.",
        ),
        (
            f"/api/v1/namespaces/{'n' * 257}/actions",
            "Namespace longer than allowed: 257 > 256.",
        ),
    ],
)
def test_a61_a_name_that_cannot_be_is_told(path: str, text: str) -> None:
    assert read_path(path).illegal == text


@pytest.mark.parametrize("path", ["/api", "/nope", "/api/v2", "/pingx"])
def test_a62_outside_the_api_nothing_wants_a_key(path: str) -> None:
    target = read_path(path)

    assert not target.keyed
    assert not target.rest
