"""What goes back: headers, JSON, refusals (A2-A6, A9)."""

from __future__ import annotations

from typing import Any

import msgspec

from edge_agent.api.call import REQUEST_ID, Call, sendable
from edge_agent.api.media import HTML_TYPE, JSON, accepts
from edge_agent.api.written import Lines, Written
from edge_agent.model.errors import (
    MethodNotAllowed,
    NotAcceptable,
    RequestError,
    Unauthorized,
    Unavailable,
)

_TEXT = "text/plain; charset=UTF-8"
_REALM = 'Basic realm="OpenWhisk secure realm",charset=UTF-8'

_ORIGIN = ("Access-Control-Allow-Origin", "*")
_HEADERS = (
    "Access-Control-Allow-Headers",
    "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
)
_METHODS = "Access-Control-Allow-Methods"

#: The headers of the REST API, and of what lies outside it (A6).
REST: Lines = (_ORIGIN, _HEADERS, (_METHODS, "GET, DELETE, POST, PUT, HEAD"))
SERVICE: Lines = (_ORIGIN, _HEADERS, (_METHODS, "OPTIONS, GET, POST"))
NO_CORS: Lines = ()

_encode = msgspec.json.Encoder().encode


def answer_json(
    call: Call,
    value: Any,
    *,
    status: int = 200,
    activation_id: str | None = None,
    cors: Lines = REST,
) -> Written:
    """Raises NotAcceptable in place of a success the caller will not take (A9)."""
    check_acceptable(call)
    lines: Lines = ((REQUEST_ID, call.transaction_id),)
    if activation_id is not None:
        lines = (*lines, ("x-openwhisk-activation-id", activation_id))
    fixed = (("Content-Type", JSON), *cors)
    # JSON text goes out as it is: it may be a megabyte.
    body = memoryview(value) if isinstance(value, msgspec.Raw) else _encode(value)
    return Written(status, body, fixed=fixed, lines=lines)


def answer_text(
    call: Call,
    text: str,
    *,
    status: int = 200,
    content_type: str = _TEXT,
    cors: Lines = REST,
) -> Written:
    fixed = (("Content-Type", content_type), *cors)
    lines = ((REQUEST_ID, call.transaction_id),)
    return Written(status, sendable(text).encode(), fixed=fixed, lines=lines)


def answer_page_of_html(call: Call, text: str) -> Written:
    fixed = (("Content-Type", HTML_TYPE.header),)
    return Written(
        200, text.encode(), fixed=fixed, lines=((REQUEST_ID, call.transaction_id),)
    )


def answer_redirect(call: Call, place: str, *, cors: Lines) -> Written:
    """A 308, as A23 and A24 have it."""
    text = (
        "The request, and all future requests should be repeated using "
        f'<a href="{place}">this URI</a>.'
    )
    fixed = (("Content-Type", HTML_TYPE.header), ("Location", place), *cors)
    lines = ((REQUEST_ID, call.transaction_id),)
    return Written(308, text.encode(), fixed=fixed, lines=lines)


def answer_nothing(call: Call) -> Written:
    """A 204, with CORS and without a content type."""
    return Written(204, fixed=REST, lines=((REQUEST_ID, call.transaction_id),))


def refusal(call: Call, error: RequestError | Unavailable) -> Written:
    """An error as A5 has it."""
    cors = _cors_of(call) if getattr(error, "cors", True) else NO_CORS
    if getattr(error, "plain", False):
        return answer_text(call, str(error), status=error.status, cors=cors)
    match error:
        case Unauthorized():
            cors = (*cors, ("WWW-Authenticate", _REALM))
        case MethodNotAllowed(methods=methods):
            cors = (*cors, ("Allow", methods))
    return failed(call, error.status, str(error), fixed=cors)


def _cors_of(call: Call) -> Lines:
    """Those of the REST API, or of what lies outside it (A6)."""
    return REST if call.target.rest else SERVICE


def failed(call: Call, status: int, text: str, *, fixed: Lines = NO_CORS) -> Written:
    """Errors are sent as JSON whatever Accept says."""
    return Written(
        status,
        _encode({"error": sendable(text), "code": call.transaction_id}),
        fixed=(("Content-Type", JSON), *fixed),
        lines=((REQUEST_ID, call.transaction_id),),
    )


def web_failed(
    call: Call, status: int, text: str, *, fixed: Lines = NO_CORS, lines: Lines = ()
) -> Written:
    """The same for a web action's URL: spread over lines (A5, B75)."""
    body = _encode({"error": sendable(text), "code": call.transaction_id})
    return Written(
        status,
        msgspec.json.format(body),
        fixed=(("Content-Type", JSON), *fixed),
        lines=((REQUEST_ID, call.transaction_id), *lines),
    )


def check_acceptable(call: Call) -> None:
    accept = call.request.headers.get("Accept")
    if accept is not None and not accepts(accept, JSON):
        raise NotAcceptable(JSON)
