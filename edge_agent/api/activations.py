"""`/namespaces/{ns}/activations` (A45-A48, B28-B31)."""

from __future__ import annotations

from edge_agent.api import query
from edge_agent.api.answers import answer_json
from edge_agent.api.call import Call
from edge_agent.api.pages import asked_page
from edge_agent.api.written import Written
from edge_agent.model.activations import ActivationRecord, summary
from edge_agent.model.errors import Forbidden, NotFound


async def list_all(call: Call) -> Written:
    if call.namespace != call.identity.namespace:
        raise Forbidden(call.namespace)
    page = asked_page(call, "activations")
    wanted = query.activation_filter(call.query)
    store = call.services.store.activations
    if page.count:
        count = await store.count(
            call.namespace, name=wanted.name, since=wanted.since, upto=wanted.upto
        )
        return answer_json(call, {"activations": max(0, count - page.skip)})
    records = await store.list(
        call.namespace,
        name=wanted.name,
        since=wanted.since,
        upto=wanted.upto,
        skip=page.skip,
        limit=page.limit,
    )
    return answer_json(call, records if wanted.docs else [*map(summary, records)])


async def get(call: Call) -> Written:
    return answer_json(call, await _record(call))


async def get_result(call: Call) -> Written:
    record = await _record(call)
    return answer_json(call, record.response)


async def get_logs(call: Call) -> Written:
    record = await _record(call)
    return answer_json(call, {"logs": record.logs})


async def _record(call: Call) -> ActivationRecord:
    """The caller's record of that id; NotFound until it has ended (A46)."""
    if call.namespace != call.identity.namespace:
        raise Forbidden(str(call.name))
    activation_id = call.target.name
    record = await call.services.store.activations.get(call.namespace, activation_id)
    if record is None:
        raise NotFound
    return record
