"""`/namespaces/{ns}/triggers` (A33-A35, B22)."""

from __future__ import annotations

from edge_agent.api import bodies
from edge_agent.api.answers import answer_json, answer_nothing
from edge_agent.api.call import Call, sendable
from edge_agent.api.pages import answer_page
from edge_agent.api.put import put_into
from edge_agent.api.wire import trigger_answer, trigger_item
from edge_agent.api.written import Written

#: Headers of a fire that actions do not see: those of the body, as upstream, and the
#: caller's key, which upstream passes on into every record (A88, ours: not).
_HIDDEN = frozenset(
    (
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "transfer-encoding",
    )
)


async def list_all(call: Call) -> Written:
    triggers = call.services.catalog.triggers.all(call.identity, call.namespace)
    return answer_page(call, "triggers", triggers, trigger_item)


async def get(call: Call) -> Written:
    found = call.services.catalog.triggers.get(call.identity, call.name)
    return answer_json(call, trigger_answer(*found))


async def put(call: Call) -> Written:
    stored = await put_into(call, call.services.catalog.triggers)
    return answer_json(call, trigger_answer(*stored))


async def delete(call: Call) -> Written:
    removed = await call.services.catalog.triggers.delete(call.identity, call.name)
    return answer_json(call, trigger_answer(*removed))


async def fire(call: Call) -> Written:
    """202 with the id of the trigger's activation; 204 when no rule is active (A35)."""
    services, identity, name = call.services, call.identity, call.name
    services.catalog.check_changeable(identity, name)
    payload = await bodies.payload(call)
    activation_id = await services.engine.fire(
        identity,
        trigger=name,
        payload=payload,
        headers=_shown_headers(call),
        transaction_id=call.transaction_id,
    )
    if activation_id is None:
        return answer_nothing(call)
    fired = {"activationId": activation_id}
    return answer_json(call, fired, status=202, activation_id=activation_id)


def _shown_headers(call: Call) -> dict[str, str]:
    sent = call.request.headers.items()
    headers = ((key.lower(), sendable(value)) for key, value in sent)
    return {key: value for key, value in headers if key not in _HIDDEN}
