"""`/edge/v1/subjects`: subjects, their namespaces and keys, blocks and limits."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

JOHN = "/edge/v1/subjects/john.doe"
AUTH = f"{uuid.UUID(int=7)}:{'k' * 64}"
ALL = "The supplied authentication is invalid"


async def admin(server: Any, method: str, path: str, body: object = None) -> Any:
    return await server(method, path, body, identity=server.system)


async def as_john(server: Any, method: str, path: str, body: object = None) -> Any:
    namespace = (await admin(server, "GET", JOHN)).body["namespaces"][0]
    identity = server.services.store.subjects.owner_of(namespace["name"])
    return await server(method, path, body, identity=identity)


async def test_f3_a_subject_has_a_key_for_each_namespace(server: Any) -> None:
    made = await admin(server, "PUT", JOHN, {"namespaces": ["home", "work"]})
    assert made.status == 200
    assert made.body["subject"] == "john.doe"
    assert [one["name"] for one in made.body["namespaces"]] == ["home", "work"]
    assert len({one["key"] for one in made.body["namespaces"]}) == 2
    assert (await admin(server, "GET", JOHN)).body == made.body
    assert (await as_john(server, "GET", "/api/v1/namespaces")).body == ["home"]
    subjects = (await admin(server, "GET", "/edge/v1/subjects")).body
    assert [one["subject"] for one in subjects] == ["guest", "john.doe", "whisk.system"]


async def test_a_key_of_ones_own_is_taken(server: Any) -> None:
    made = await admin(server, "PUT", JOHN, {"auth": AUTH})
    one = made.body["namespaces"][0]
    assert (one["name"], f"{one['uuid']}:{one['key']}") == ("john.doe", AUTH)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("joe", {}, 400),
        ("j%2Fohn", {}, 400),
        ("john.doe", {"namespaces": ["a/b"]}, 400),
        ("john.doe", {"namespaces": ["guest"]}, 409),
        ("guest", {}, 409),
        ("john.doe", {"auth": "no:key"}, 400),
        ("john.doe", {"auth": AUTH, "namespaces": ["one", "two"]}, 400),
        ("john.doe", {"colour": 1}, 400),
        ("john.doe", [1], 400),
    ],
)
async def test_what_cannot_be_a_subject_is_refused(
    server: Any, path: str, body: object, status: int
) -> None:
    answer = await admin(server, "PUT", f"/edge/v1/subjects/{path}", body)
    assert answer.status == status, answer.text
    assert (await admin(server, "GET", JOHN)).status == 404


async def test_a_key_is_given_once(server: Any) -> None:
    await admin(server, "PUT", JOHN, {"auth": AUTH})
    answer = await admin(server, "PUT", "/edge/v1/subjects/jane.doe", {"auth": AUTH})
    assert answer.status == 409


async def test_a51_f3_a_blocked_subject_is_unknown_until_it_is_unblocked(
    server: Any,
) -> None:
    await admin(server, "PUT", JOHN, {})
    assert (await admin(server, "PATCH", JOHN, {"blocked": True})).body["blocked"]
    answer = await as_john(server, "GET", "actions")
    assert (answer.status, answer.error) == (401, ALL)
    web = "/api/v1/web/john.doe/default/a.json"
    assert (await server("GET", web, auth="")).status == 404
    assert (
        "blocked" not in (await admin(server, "PATCH", JOHN, {"blocked": False})).body
    )
    assert (await as_john(server, "GET", "actions")).status == 200


async def test_a52_a_subject_has_no_rights_in_others_namespaces(server: Any) -> None:
    await admin(server, "PUT", JOHN, {})
    answer = await as_john(server, "GET", "/api/v1/namespaces/guest/actions")
    assert answer.status == 403
    assert answer.error == (
        "The supplied authentication is not authorized to access 'guest'."
    )


async def test_a_namespace_is_deleted_and_then_the_subject(server: Any) -> None:
    await admin(server, "PUT", JOHN, {"namespaces": ["home", "work"]})
    assert (await admin(server, "DELETE", f"{JOHN}?namespace=home")).status == 200
    left = (await admin(server, "GET", JOHN)).body["namespaces"]
    assert [one["name"] for one in left] == ["work"]
    assert (await admin(server, "DELETE", f"{JOHN}?namespace=home")).status == 404
    assert (await admin(server, "DELETE", JOHN)).status == 200
    assert (await admin(server, "GET", JOHN)).status == 404


@pytest.mark.parametrize("name", ["guest", "whisk.system"])
async def test_the_nodes_own_subjects_stay(server: Any, name: str) -> None:
    path = f"/edge/v1/subjects/{name}"
    assert (await admin(server, "DELETE", path)).status == 409
    assert (await admin(server, "PATCH", path, {"blocked": True})).status == 409
    assert (await server("GET", "actions")).status == 200


async def test_only_the_nodes_own_key_may(server: Any) -> None:
    paths = ("subjects", "subjects/guest", "limits/guest")
    for path in paths:
        assert (await server("GET", f"/edge/v1/{path}")).status == 403
    for method in ("PUT", "DELETE"):
        assert (await server(method, JOHN, {})).status == 403
        assert (await server(method, "/edge/v1/limits/guest", {})).status == 403


async def test_a49_d27_a_namespaces_own_limits_are_in_force(server: Any) -> None:
    path = "/edge/v1/limits/guest"
    own = {
        "invocationsPerMinute": 2,
        "maxActionMemory": 200,
        "allowedKinds": ["sequence"],
    }
    await server.put_action()
    assert (await admin(server, "PUT", path, own)).body == own
    assert (await admin(server, "GET", path)).body == own
    limits = (await server("GET", "limits")).body
    assert {key: limits[key] for key in own} == own
    statuses = [(await server.invoke()).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    big = {
        "exec": {"kind": "sequence", "components": ["/_/a"]},
        "limits": {"memory": 201},
    }
    assert (await server("PUT", "actions/b", big)).status == 400
    assert (await admin(server, "DELETE", path)).status == 204
    assert "allowedKinds" not in (await server("GET", "limits")).body


async def test_a52a_a_kind_that_is_not_allowed(server: Any) -> None:
    own = {"allowedKinds": ["sequence"]}
    await admin(server, "PUT", "/edge/v1/limits/guest", own)
    exec_ = {"kind": "python:3.11", "code": "def main(a): return a"}
    answer = await server("PUT", "actions/a", {"exec": exec_})
    assert answer.status == 403
    assert answer.error == (
        "The supplied authentication is not authorized to access "
        "actions of kind 'python:3.11'."
    )


@pytest.mark.parametrize(
    "body", [{"invocationsPerMinute": -1}, {"fires": 1}, {"allowedKinds": "x"}, [1]]
)
async def test_limits_that_cannot_be_are_refused(server: Any, body: object) -> None:
    assert (await admin(server, "PUT", "/edge/v1/limits/guest", body)).status == 400
    assert (await admin(server, "PUT", "/edge/v1/limits/nobody", {})).status == 404
