"""`/namespaces` and `/namespaces/{ns}/limits` (A26, A49)."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from edge_agent.api.answers import answer_json
from edge_agent.api.call import Call
from edge_agent.api.written import Written
from edge_agent.model.errors import Forbidden
from edge_agent.model.limits import SystemLimits


class Limits(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """The effective limits of a namespace: sizes in MB, times in ms."""

    invocations_per_minute: int
    concurrent_invocations: int
    fires_per_minute: int
    allowed_kinds: tuple[str, ...] | UnsetType = UNSET
    min_action_memory: int
    max_action_memory: int
    min_action_logs: int
    max_action_logs: int
    min_action_timeout: int
    max_action_timeout: int
    min_action_concurrency: int
    max_action_concurrency: int
    max_parameter_size: str
    max_action_instances: int


def effective_limits(
    limits: SystemLimits, kinds: tuple[str, ...] | None = None
) -> Limits:
    return Limits(
        allowed_kinds=UNSET if kinds is None else kinds,
        invocations_per_minute=limits.invocations_per_minute,
        concurrent_invocations=limits.concurrent_invocations,
        fires_per_minute=limits.fires_per_minute,
        min_action_memory=limits.memory_mb.least,
        max_action_memory=limits.memory_mb.greatest,
        min_action_logs=limits.logs_mb.least,
        max_action_logs=limits.logs_mb.greatest,
        min_action_timeout=limits.timeout_ms.least,
        max_action_timeout=limits.timeout_ms.greatest,
        min_action_concurrency=limits.concurrency.least,
        max_action_concurrency=limits.concurrency.greatest,
        max_parameter_size=f"{limits.payload_bytes} B",
        max_action_instances=limits.concurrent_invocations,
    )


async def list_all(call: Call) -> Written:
    return answer_json(call, [call.identity.namespace])


async def limits(call: Call) -> Written:
    if call.namespace != call.identity.namespace:
        raise Forbidden(call.namespace)
    found = call.services.limits
    kinds = found.own(call.namespace).allowed_kinds
    return answer_json(call, effective_limits(found.of(call.namespace), kinds))
