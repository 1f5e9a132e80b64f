"""`/namespaces/{ns}/packages` (A40-A43, B16-B20)."""

from __future__ import annotations

from edge_agent.api import query
from edge_agent.api.answers import answer_json
from edge_agent.api.call import Call
from edge_agent.api.pages import answer_page
from edge_agent.api.put import put_into
from edge_agent.api.wire import contents_answer, package_answer, package_item
from edge_agent.api.written import Written


async def list_all(call: Call) -> Written:
    packages = call.services.catalog.packages.all(call.identity, call.namespace)
    return answer_page(call, "packages", packages, package_item)


async def get(call: Call) -> Written:
    contents = call.services.catalog.packages.get(call.identity, call.name)
    return answer_json(call, contents_answer(contents))


async def put(call: Call) -> Written:
    package = await put_into(call, call.services.catalog.packages)
    return answer_json(call, package_answer(package))


async def delete(call: Call) -> Written:
    packages = call.services.catalog.packages
    call.services.catalog.check_changeable(call.identity, call.name)
    force = query.flag(call.query, "force")
    package = await packages.delete(call.identity, call.name, force=force)
    return answer_json(call, package_answer(package))
