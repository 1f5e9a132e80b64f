"""`/edge/v1/subjects` and `/edge/v1/limits`: who may use the node, and how much.

    GET     /edge/v1/subjects                     all of them with their keys
    GET     /edge/v1/subjects/NAME                one
    PUT     /edge/v1/subjects/NAME                make it, or give it more namespaces:
                                                  {"namespaces": [...], "auth": KEY}
    PATCH   /edge/v1/subjects/NAME                {"blocked": true}, or false
    DELETE  /edge/v1/subjects/NAME[?namespace=N]  away with it, or with one of those
    GET     /edge/v1/limits/NAMESPACE             the limits that are its own
    PUT     /edge/v1/limits/NAMESPACE             give it others (names of A49)
    PATCH   /edge/v1/limits/NAMESPACE             change those named; null: not its own
    DELETE  /edge/v1/limits/NAMESPACE             none of its own

It is for the node's own key: `edge-agent user` is made of it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from edge_agent.api import bodies, query
from edge_agent.api.answers import SERVICE, answer_json, answer_nothing
from edge_agent.api.auth import check_system
from edge_agent.api.call import Call
from edge_agent.api.written import Written
from edge_agent.model.errors import MalformedContent
from edge_agent.model.limits import NamespaceLimits
from edge_agent.model.subjects import SubjectPatch, SubjectPut

T = TypeVar("T")


async def list_all(call: Call) -> Written:
    check_system(call)
    return answer_json(call, call.services.subjects.all(), cors=SERVICE)


async def get(call: Call) -> Written:
    check_system(call)
    found = call.services.subjects.get(call.target.name)
    return answer_json(call, found, cors=SERVICE)


async def put(call: Call) -> Written:
    check_system(call)
    asked = await _read(call, SubjectPut)
    made = await call.services.subjects.create(
        call.target.name, asked.namespaces, auth=asked.auth
    )
    return answer_json(call, made, cors=SERVICE)


async def patch(call: Call) -> Written:
    check_system(call)
    asked = await _read(call, SubjectPatch)
    changed = await call.services.subjects.block(
        call.target.name, blocked=asked.blocked
    )
    return answer_json(call, changed, cors=SERVICE)


async def delete(call: Call) -> Written:
    check_system(call)
    namespace = query.parameters(call.query).get("namespace")
    removed = await call.services.subjects.delete(call.target.name, namespace)
    return answer_json(call, removed, cors=SERVICE)


async def get_limits(call: Call) -> Written:
    check_system(call)
    limits = call.services.subjects.limits(call.target.name)
    return answer_json(call, limits, cors=SERVICE)


async def put_limits(call: Call) -> Written:
    check_system(call)
    limits = await _read(call, NamespaceLimits)
    await call.services.subjects.set_limits(call.target.name, limits)
    return answer_json(call, limits, cors=SERVICE)


async def patch_limits(call: Call) -> Written:
    check_system(call)
    changes = await _read(call, dict[str, Any])
    limits = await call.services.subjects.change_limits(call.target.name, changes)
    return answer_json(call, limits, cors=SERVICE)


async def delete_limits(call: Call) -> Written:
    check_system(call)
    await call.services.subjects.set_limits(call.target.name, None)
    return answer_nothing(call)


async def _read(call: Call, type_: type[T]) -> T:
    body = await bodies.document(call)
    try:
        return msgspec.json.decode(body or b"{}", type=type_)
    except msgspec.MsgspecError as error:
        raise MalformedContent(str(error)) from error
