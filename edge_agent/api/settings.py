"""`/edge/v1/settings`: what of the settings may be changed while the node runs.

    GET     every such setting: its value, where it comes from, what it is otherwise
    PATCH   override those in the body, `{"pool.memory_mb": 1024}`; null takes one back
    PUT     the same, and take back all others
    DELETE  take back all

Each answers what GET does. It is for the node's own key. Overrides outlast restarts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edge_agent.api import bodies
from edge_agent.api.answers import SERVICE, answer_json
from edge_agent.api.auth import check_system
from edge_agent.api.call import Call
from edge_agent.api.written import Written
from edge_agent.model.errors import MalformedContent

_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def get(call: Call) -> Written:
    check_system(call)
    return _answer(call)


async def put(call: Call) -> Written:
    return await _change(call, replace=True)


async def patch(call: Call) -> Written:
    return await _change(call, replace=False)


async def delete(call: Call) -> Written:
    check_system(call)
    await call.services.overrides.change({}, replace=True)
    return _answer(call)


async def _change(call: Call, *, replace: bool) -> Written:
    check_system(call)
    body = await bodies.document(call)
    try:
        changes = _decode(body)
    except msgspec.MsgspecError as error:
        raise MalformedContent("JSON object expected") from error
    await call.services.overrides.change(changes, replace=replace)
    return _answer(call)


def _answer(call: Call) -> Written:
    return answer_json(call, call.services.overrides.shown(), cors=SERVICE)
