"""`/edge/v1`: what is ours and not OpenWhisk's."""

from __future__ import annotations

from aiohttp import web

from edge_agent.api.answers import SERVICE, answer_json
from edge_agent.api.auth import check_system
from edge_agent.api.call import Call
from edge_agent.api.streams import stream_to
from edge_agent.api.written import Written


async def node(call: Call) -> Written:
    check_system(call)
    return answer_json(call, call.services.health.report(), cors=SERVICE)


async def load(call: Call) -> Written:
    return answer_json(call, call.services.load(), cors=SERVICE)


async def stream(call: Call) -> web.StreamResponse:
    """The caller's activations as they end: `data: <record>`."""
    return await stream_to(call, call.services.stream, call.identity.namespace)
