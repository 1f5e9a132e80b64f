"""`/edge/v1/events`: accepted events that wait, and dead letters.

The key of a namespace reaches its own events, that of `whisk.system` all of the node.

    GET    /edge/v1/events[?state=waiting|dead][&limit=N][&after=CURSOR]   a page
    POST   /edge/v1/events[?reason=R]        replay every dead letter
    DELETE /edge/v1/events[?reason=R]        drop every dead letter
    GET    /edge/v1/events/ID                one, with its arguments and attempts
    POST   /edge/v1/events/ID                replay a dead letter
    DELETE /edge/v1/events/ID                drop it, dead or waiting
    GET    /edge/v1/events/stream            what happens, as server-sent events
"""

from __future__ import annotations

from urllib.parse import parse_qs

from aiohttp import web

from edge_agent.api.answers import SERVICE, answer_json, answer_nothing
from edge_agent.api.call import Call
from edge_agent.api.streams import stream_to
from edge_agent.api.written import Written
from edge_agent.model.delivery import Reason
from edge_agent.model.errors import MalformedQuery
from edge_agent.model.names import SYSTEM_NAMESPACE
from edge_agent.telemetry.stream import ALL

LIMIT, LIMIT_MOST = 50, 200
_STATES = ("", "waiting", "dead")


async def list_all(call: Call) -> Written:
    query = _query(call)
    state = query.get("state", "")
    if state not in _STATES:
        raise MalformedQuery("state", f"'{state}' is neither waiting nor dead.")
    page = await call.services.engine.backlog.page(
        _scope(call), state=state, after=query.get("after", ""), limit=_limit(query)
    )
    return answer_json(call, page, cors=SERVICE)


async def replay_all(call: Call) -> Written:
    backlog = call.services.engine.backlog
    swept = await backlog.replay_all(_scope(call), _reason(call))
    return answer_json(call, swept, cors=SERVICE)


async def drop_all(call: Call) -> Written:
    backlog = call.services.engine.backlog
    swept = await backlog.drop_all(_scope(call), _reason(call))
    return answer_json(call, swept, cors=SERVICE)


async def get(call: Call) -> Written:
    view = await call.services.engine.backlog.view(_scope(call), call.target.name)
    return answer_json(call, view, cors=SERVICE)


async def replay(call: Call) -> Written:
    backlog = call.services.engine.backlog
    replayed = await backlog.replay(_scope(call), call.target.name)
    return answer_json(
        call,
        replayed,
        status=202,
        activation_id=replayed.activation_id,
        cors=SERVICE,
    )


async def drop(call: Call) -> Written:
    await call.services.engine.backlog.drop(_scope(call), call.target.name)
    return answer_nothing(call)


async def stream(call: Call) -> web.StreamResponse:
    """What happens to events from now on: `data: {"event": "retry", ...}`."""
    return await stream_to(call, call.services.engine.events, _scope(call) or ALL)


def _scope(call: Call) -> str | None:
    namespace = call.identity.namespace
    return None if namespace == SYSTEM_NAMESPACE else namespace


def _query(call: Call) -> dict[str, str]:
    found = parse_qs(call.query, keep_blank_values=True)
    return {key: values[-1] for key, values in found.items()}


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", str(LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= LIMIT_MOST:
        raise MalformedQuery("limit", f"'{text}' is not from 1 to {LIMIT_MOST}.")
    return int(text)


def _reason(call: Call) -> Reason | None:
    text = _query(call).get("reason")
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError as error:
        known = ", ".join(Reason)
        raise MalformedQuery("reason", f"'{text}' is none of {known}.") from error
