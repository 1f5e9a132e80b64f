"""What those who watch a controller ask it (A17-A21); needs no key.

A node is its own invoker and tells of none, as upstream's lean load balancer does.
"""

from __future__ import annotations

import ipaddress
from itertools import chain
from typing import Any

from edge_agent.api.answers import NO_CORS, SERVICE, answer_json, answer_text
from edge_agent.api.auth import authenticate, check_system, known_caller
from edge_agent.api.call import Call
from edge_agent.api.written import Written
from edge_agent.model.errors import Denied
from edge_agent.model.names import SYSTEM_NAMESPACE
from edge_agent.telemetry.exposition import CONTENT_TYPE, labels, write
from edge_agent.telemetry.node_metrics import node_families


async def invokers(call: Call) -> Written:
    return answer_json(call, {}, cors=SERVICE)


async def healthy_count(call: Call) -> Written:
    return answer_json(call, 0, cors=SERVICE)


async def ready(call: Call) -> Written:
    """200 once actions can run here, until the node is disabled or stops (ours)."""
    services = call.services
    leaving = services.draining.is_set() or services.stopping.is_set()
    if leaving or not services.catalog.kinds.kinds:
        return answer_json(call, {"unhealthy": "0/1"}, status=500, cors=SERVICE)
    return answer_json(call, {"healthy": "1/1"}, cors=SERVICE)


async def in_flight(call: Call) -> Written:
    return answer_json(call, call.services.in_flight(), cors=SERVICE)


async def in_flight_count(call: Call) -> Written:
    return answer_json(call, len(call.services.in_flight()), cors=SERVICE)


async def metrics(call: Call) -> Written:
    """Figures of every namespace: for this machine, and for the node's own key.

    Raises:
        Forbidden: asked over another address than the loopback's, with another key.
    """
    settings = call.services.settings.metrics
    if not settings.open and not _over_loopback(call):
        call.identity = authenticate(call)
        check_system(call)
    services = call.services
    families = chain(
        services.engine.metrics.families(),
        node_families(services.health.report(), services.pool_counts()),
    )
    fixed = labels(region=settings.region, stack=settings.stack)
    text = await write(families, fixed=fixed)
    return answer_text(call, text, content_type=CONTENT_TYPE, cors=NO_CORS)


def _over_loopback(call: Call) -> bool:
    transport = call.request.transport
    name: Any = None if transport is None else transport.get_extra_info("sockname")
    try:
        return ipaddress.ip_address(name[0]).is_loopback
    except (ValueError, TypeError, IndexError):
        return False


async def disable(call: Call) -> Written:
    """Let the probes say that the node is not ready; it works on until it is stopped.

    Raises:
        Denied: not with the node's own key, which stands for the controller's.
    """
    if not call.request.headers.get("Authorization"):
        raise Denied
    caller = known_caller(call)
    if caller is None or caller.namespace != SYSTEM_NAMESPACE:
        raise Denied("username or password are wrong.")
    call.services.draining.set()
    return answer_text(call, "controller disabled", cors=SERVICE)
