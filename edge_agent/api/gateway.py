"""`/api/{namespace}/…`: the APIs that `wsk api create` has made (B78-B84).

An operation is a web action called under another URL: what its path has in braces comes
as parameters, its secret is sent along, and the answer is the web action's.
"""

from __future__ import annotations

from urllib.parse import urlencode

from edge_agent.api.answers import SERVICE, answer_text
from edge_agent.api.auth import known_caller
from edge_agent.api.call import REQUEST_ID, Call
from edge_agent.api.web_actions import allowed_headers, answer, own_headers
from edge_agent.api.web_request import Asked
from edge_agent.api.written import Lines, Written
from edge_agent.model.apis import SECRET_HEADER, Match, Operation, match
from edge_agent.model.errors import MethodNotAllowed, NoRoute


async def serve(call: Call) -> Written:
    method = call.request.method.lower()
    found = match(call.services.store.apis.of(call.target.namespace), call.target.path)
    if found is None:
        if method == "options":
            return answer_text(call, "OK", cors=SERVICE)
        raise NoRoute
    caller = known_caller(call)
    headers = own_headers(call, caller)
    cors = _cors(found, headers) if found.api.cors else None
    operation = found.operations.get(method)
    if operation is not None:
        asked = _asked(call, found, operation, headers)
        return await answer(call, asked, caller, cors=cors)
    if method == "options":
        line = (REQUEST_ID, call.transaction_id)
        return Written(200, lines=(line, *(cors or ())))
    raise MethodNotAllowed(", ".join(name.upper() for name in found.operations))


def _asked(
    call: Call, found: Match, operation: Operation, headers: dict[str, str]
) -> Asked:
    if operation.secret is not None:
        headers = {**headers, SECRET_HEADER.lower(): operation.secret}
    query = "&".join(part for part in (call.query, urlencode(found.parameters)) if part)
    return Asked(
        name=operation.action,
        extension=operation.extension,
        method=operation.verb or operation.method,
        path=found.path if operation.with_path else "",
        query=query,
        headers=headers,
    )


def _cors(found: Match, headers: dict[str, str]) -> Lines:
    methods = sorted({*(name.upper() for name in found.operations), "OPTIONS"})
    return (
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", ", ".join(methods)),
        allowed_headers(headers),
    )
