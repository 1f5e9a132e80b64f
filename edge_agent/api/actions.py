"""`/namespaces/{ns}/actions` (A27-A32, A63-A77)."""

from __future__ import annotations

import time

from msgspec import Raw
from msgspec.structs import replace

from edge_agent.api import bodies, query
from edge_agent.api.answers import answer_json
from edge_agent.api.call import Call
from edge_agent.api.pages import answer_page
from edge_agent.api.put import put_into
from edge_agent.api.wire import action_item
from edge_agent.api.written import Written
from edge_agent.engine.waiting import Accepted
from edge_agent.model.activations import ActivationRecord, Status

#: The HTTP status of a finished blocking call, by what became of it (A64-A69).
_STATUS = {
    Status.SUCCESS.text: 200,
    Status.APPLICATION_ERROR.text: 502,
    Status.DEVELOPER_ERROR.text: 502,
    Status.WHISK_ERROR.text: 500,
}


async def list_all(call: Call) -> Written:
    actions = call.services.catalog.actions.all(call.identity, call.namespace)
    return answer_page(call, "actions", actions, action_item)


async def list_package(call: Call) -> Written:
    actions = call.services.catalog.actions.of_package(call.identity, call.name)
    return answer_page(call, "actions", actions, action_item)


async def get(call: Call) -> Written:
    actions = call.services.catalog.actions
    call.services.catalog.check_readable(call.identity, call.name)
    code = query.flag(call.query, "code", default=True)
    return answer_json(call, await actions.get(call.identity, call.name, code=code))


async def put(call: Call) -> Written:
    return answer_json(call, await put_into(call, call.services.catalog.actions))


async def delete(call: Call) -> Written:
    actions = call.services.catalog.actions
    return answer_json(call, await actions.delete(call.identity, call.name))


async def invoke(call: Call) -> Written:
    """Run it: 202 with an id, or the outcome (a.4 of the contract)."""
    services, identity, name = call.services, call.identity, call.name
    if name.package is not None or name.namespace != identity.namespace:
        services.catalog.check_readable(identity, name)
    asked = query.invoke_query(call.query, services.limits.system.blocking_wait_ms)
    began_s = time.monotonic()
    outcome = await services.engine.invoke(
        identity,
        action=name,
        payload=await bodies.payload(call),
        blocking=asked.blocking,
        wait_ms=asked.wait_ms,
        transaction_id=call.transaction_id,
    )
    if isinstance(outcome, Accepted):
        if not asked.blocking:
            services.engine.metrics.accepted(time.monotonic() - began_s)
        activation_id = outcome.activation_id
        accepted = {"activationId": activation_id}
        return answer_json(call, accepted, status=202, activation_id=activation_id)
    return _answer_record(call, outcome, only_result=asked.result)


def _answer_record(
    call: Call, record: ActivationRecord, *, only_result: bool
) -> Written:
    response = record.response
    shown: object = record
    # A66: an array goes alone, whatever was asked.
    if only_result or _is_array(response.result):
        shown = response.result
    elif record.logs and record.annotation("topmost") is None:
        # A64: upstream writes the logs of an action after it has answered.
        shown = replace(record, logs=[])
    return answer_json(
        call,
        shown,
        status=_STATUS[response.status],
        activation_id=record.activation_id,
    )


def _is_array(result: Raw) -> bool:
    """Told by its beginning: a result may be a megabyte."""
    return bytes(memoryview(result)[:64]).lstrip()[:1] == b"["
