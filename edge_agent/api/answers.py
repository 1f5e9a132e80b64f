"""What goes back: headers, JSON, refusals (A2-A6, A9)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict, istr

from edge_agent.api.call import REQUEST_ID, Call, sendable
from edge_agent.model.errors import (
    MethodNotAllowed,
    NotAcceptable,
    RequestError,
    Unauthorized,
    Unavailable,
)

_JSON = "application/json"
_TEXT = "text/plain; charset=UTF-8"
_CONTENT_TYPE = istr("Content-Type")
_REQUEST_ID = istr(REQUEST_ID)
_ACTIVATION_ID = istr("x-openwhisk-activation-id")
_REALM = 'Basic realm="OpenWhisk secure realm",charset=UTF-8'

_ORIGIN = (istr("Access-Control-Allow-Origin"), "*")
_HEADERS = (
    istr("Access-Control-Allow-Headers"),
    "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
)
_METHODS = istr("Access-Control-Allow-Methods")

Cors = tuple[tuple[istr, str], ...]
#: The headers of the REST API, and of what lies outside it (A6).
REST: Cors = (_ORIGIN, _HEADERS, (_METHODS, "GET, DELETE, POST, PUT, HEAD"))
SERVICE: Cors = (_ORIGIN, _HEADERS, (_METHODS, "OPTIONS, GET, POST"))
NO_CORS: Cors = ()

_encode = msgspec.json.Encoder().encode


def answer_json(
    call: Call,
    value: Any,
    *,
    status: int = 200,
    activation_id: str | None = None,
    cors: Cors = REST,
) -> web.Response:
    """Raises NotAcceptable in place of a success the caller will not take (A9)."""
    if status < 400:  # noqa: PLR2004 errors are sent whatever Accept says
        check_acceptable(call)
    headers = _base(call, _JSON, cors)
    if activation_id is not None:
        headers[_ACTIVATION_ID] = activation_id
    return web.Response(status=status, body=_encode(value), headers=headers)


def answer_text(
    call: Call, text: str, *, status: int = 200, cors: Cors = REST
) -> web.Response:
    headers = _base(call, _TEXT, cors)
    return web.Response(status=status, body=sendable(text).encode(), headers=headers)


def answer_nothing(call: Call) -> web.Response:
    """A 204, with CORS and without a content type."""
    headers: CIMultiDict[str] = CIMultiDict(REST)
    headers[_REQUEST_ID] = call.transaction_id
    return web.Response(status=204, headers=headers)


def stream_headers(call: Call, content_type: str) -> CIMultiDict[str]:
    return _base(call, content_type, SERVICE)


def refusal(call: Call, error: RequestError | Unavailable) -> web.Response:
    """An error as A5 has it."""
    cors = REST if getattr(error, "cors", True) else NO_CORS
    if getattr(error, "plain", False):
        return answer_text(call, str(error), status=error.status, cors=cors)
    answer = failed(call, error.status, str(error), cors=cors)
    match error:
        case Unauthorized():
            answer.headers["WWW-Authenticate"] = _REALM
        case MethodNotAllowed(methods=methods):
            answer.headers["Allow"] = methods
    return answer


def failed(call: Call, status: int, text: str, *, cors: Cors = NO_CORS) -> web.Response:
    body = {"error": sendable(text), "code": call.transaction_id}
    return answer_json(call, body, status=status, cors=cors)


def check_acceptable(call: Call) -> None:
    accept = call.request.headers.get("Accept")
    if accept is not None and not _accepts_json(accept):
        raise NotAcceptable(_JSON)


@lru_cache(maxsize=32)
def _accepts_json(accept: str) -> bool:
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media in ("*/*", "application/*", _JSON, ""):
            weights = [p[2:] for p in parameters if p.startswith("q=")]
            if weights not in (["0"], ["0.0"]):
                return True
    return False


def _base(call: Call, content_type: str, cors: Cors) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict(cors)
    headers[_CONTENT_TYPE] = content_type
    headers[_REQUEST_ID] = call.transaction_id
    return headers
