"""From an HTTP request to the arguments of a web action (B61-B67).

Pure; whether bytes are text is told by their media type, JSON stays text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from edge_agent.api.bodies import fields_or_value
from edge_agent.api.call import sendable
from edge_agent.api.media import BINARY, FORM, JSON, OCTETS, read_media_type
from edge_agent.api.web_answers import TRANSCODERS
from edge_agent.model.entities import Action
from edge_agent.model.errors import BadRequest
from edge_agent.model.names import FullName

NOT_ALLOWED = (
    "Request defines parameters that are not allowed (e.g., reserved properties)."
)
RESERVED = frozenset(
    f"__ow_{name}" for name in ("method", "headers", "path", "user", "query", "body")
)
_DEFAULT_EXTENSION = ".http"
#: What says how a body travels, not what it is.
_OF_THE_LINE = frozenset(("content-length", "transfer-encoding"))
_REMEMBERED = 64

_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """What is asked of which web action.

    `path` and `query` are as they were sent; `headers` have names in lower case.
    """

    name: FullName
    extension: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class WebOptions(NamedTuple):
    """What an action's annotations say of it as a web action (B14, B15).

    `auth` is None where everybody may come in.
    """

    exported: bool
    raw: bool
    custom_options: bool
    auth: Any


def read_options(action: Action) -> WebOptions:
    found = {one.key: one.value for one in action.annotations}
    auth = found.get("require-whisk-auth")
    return WebOptions(
        exported=found.get("web-export") is True,
        raw=found.get("raw-http") is True,
        custom_options=found.get("web-custom-options") is True,
        auth=None if auth is False else auth,
    )


def split_extension(segment: str) -> tuple[str, str]:
    """`name.json` is `name` and `.json`; an unknown ending is part of the name."""
    name, dot, last = segment.rpartition(".")
    if dot and name and f".{last}" in TRANSCODERS:
        return name, f".{last}"
    return segment, _DEFAULT_EXTENSION


def header_fields(
    headers: Mapping[str, str], *, without: frozenset[str]
) -> dict[str, str]:
    """Names in lower case; of equal ones the last counts."""
    hidden = _OF_THE_LINE | without
    lowered = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lowered if name not in hidden}


def arguments(
    asked: Asked, body: bytes, *, raw: bool, final: frozenset[str], user: str | None
) -> bytes:
    """The JSON text that the action is given.

    Raises:
        BadRequest: the request sets what it may not (B67).
        MalformedContent: the body is not the JSON it is said to be (A58).
    """
    headers = asked.headers
    if body and "content-type" not in headers:
        headers = {**headers, "content-type": OCTETS}
    given: dict[str, Any]
    if raw:
        given = _raw(asked.query, headers, body)
    else:
        given = _merged(asked.query, headers, body, final)
    given["__ow_method"] = asked.method
    given["__ow_headers"] = headers
    given["__ow_path"] = asked.path
    if user is not None:
        given["__ow_user"] = user
    try:
        return _encode(given)
    except UnicodeEncodeError:  # bytes that were no UTF-8
        return _encode(_cleaned(given))


def _raw(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    media = read_media_type(headers.get("content-type", "")) or BINARY
    binary = not media.text or media.name == JSON
    return {"__ow_query": query, "__ow_body": _text(body, binary=binary)}


def _merged(
    query: str, headers: Mapping[str, str], body: bytes, final: frozenset[str]
) -> dict[str, Any]:
    given: dict[str, Any] = dict(_parameters(query)) if query else {}
    value = _body_value(headers, body) if body else None
    if isinstance(value, dict):
        given |= value
    if not RESERVED.isdisjoint(given) or not final.isdisjoint(given):
        raise BadRequest(NOT_ALLOWED)
    if value is not None and not isinstance(value, dict):
        given["__ow_body"] = value
    return given


def _body_value(headers: Mapping[str, str], body: bytes) -> Any:
    media = read_media_type(headers["content-type"]) or BINARY
    if media.json:
        return fields_or_value(body)
    if media.name == FORM:
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return _text(body, binary=not media.text)


def _text(body: bytes, *, binary: bool) -> str:
    if binary:
        return base64.b64encode(body).decode()
    return body.decode(errors="replace")


@lru_cache(maxsize=_REMEMBERED)
def _parameters(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query, keep_blank_values=True))


def _cleaned(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same with every text of the request as it can be sent."""
    return {
        sendable(key): sendable(value)
        if isinstance(value, str)
        else _cleaned(value)
        if key == "__ow_headers"
        else value
        for key, value in given.items()
    }
