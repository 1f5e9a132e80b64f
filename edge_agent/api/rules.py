"""`/namespaces/{ns}/rules` (A36-A39, B25, B26)."""

from __future__ import annotations

from edge_agent.api import bodies
from edge_agent.api.answers import answer_json, answer_text
from edge_agent.api.call import Call
from edge_agent.api.pages import answer_page
from edge_agent.api.put import put_into
from edge_agent.api.wire import rule_answer, rule_item
from edge_agent.api.written import Written


async def list_all(call: Call) -> Written:
    rules = call.services.catalog.rules.all(call.identity, call.namespace)
    return answer_page(call, "rules", rules, rule_item)


async def get(call: Call) -> Written:
    rule = call.services.catalog.rules.get(call.identity, call.name)
    return answer_json(call, rule_answer(rule))


async def put(call: Call) -> Written:
    rule = await put_into(call, call.services.catalog.rules)
    return answer_json(call, rule_answer(rule))


async def delete(call: Call) -> Written:
    rule = await call.services.catalog.rules.delete(call.identity, call.name)
    return answer_json(call, rule_answer(rule))


async def set_status(call: Call) -> Written:
    rules = call.services.catalog.rules
    call.services.catalog.check_changeable(call.identity, call.name)
    body = await bodies.document(call)
    await rules.set_status(call.identity, call.name, body)
    return answer_text(call, "OK")
