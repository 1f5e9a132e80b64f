"""Web actions: `/api/v1/web/{namespace}/{package|default}/{action}[.ext][/path]`.

A web action answers anybody, in its own words; it runs with the identity of the
namespace in the URL. Its refusals are JSON like all others, spread over lines, and only
those that come after the action's own door carry CORS headers (B69).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from edge_agent.api import bodies
from edge_agent.api.answers import web_failed
from edge_agent.api.auth import known_caller
from edge_agent.api.call import REQUEST_ID, Call, sendable
from edge_agent.api.media import accepts
from edge_agent.api.web_answers import WebAnswer, transcode
from edge_agent.api.web_request import (
    Asked,
    WebOptions,
    arguments,
    header_fields,
    read_options,
)
from edge_agent.api.written import Lines, Written
from edge_agent.engine.resolve import Runnable
from edge_agent.engine.waiting import Accepted
from edge_agent.model.activations import ActivationRecord, Response, Status
from edge_agent.model.errors import (
    BadRequest,
    Denied,
    NotAcceptable,
    NotFound,
    RequestError,
    TooManyRequests,
    Unavailable,
)
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

_NOT_READY = "Response not yet ready."
_FAILED = "There was an error processing your request."
_SECRET_HEADER = "x-require-whisk-auth"  # noqa: S105 the name of a header
_AUTHORIZATION = frozenset(("authorization",))
_NOTHING: frozenset[str] = frozenset()

_CORS: Lines = (
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Allow-Methods",
        "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH",
    ),
)
_ALLOW_HEADERS = "Access-Control-Allow-Headers"
_ALLOWED_HEADERS = (
    "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"
)
_STANDARD_CORS: Lines = (*_CORS, (_ALLOW_HEADERS, _ALLOWED_HEADERS))

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def handle(call: Call) -> Written:
    """Run the web action of the path."""
    target = call.target
    caller = known_caller(call)
    asked = Asked(
        name=FullName(target.namespace, target.name, target.package),
        extension=target.extension,
        method=call.request.method.lower(),
        path=target.path,
        query=call.query,
        headers=own_headers(call, caller),
    )
    return await answer(call, asked, caller)


def own_headers(call: Call, caller: Identity | None) -> dict[str, str]:
    """The request's headers; a key of this server is none of an action's business."""
    headers = header_fields(
        call.request.headers, without=_AUTHORIZATION if caller else _NOTHING
    )
    if call.request.secure:
        headers.setdefault("x-forwarded-proto", "https")
    return headers


async def answer(
    call: Call, asked: Asked, caller: Identity | None, *, cors: Lines | None = None
) -> Written:
    """Answer what is asked of a web action; `caller` is None when nobody is known.

    `cors` replaces the lines that the action would be answered with.
    """
    try:
        owner, runnable = _find(call, asked.name)
        options = read_options(runnable.action)
        if not options.exported:
            raise NotFound
        if cors is None:
            cors = () if options.custom_options else cors_lines(asked)
        if asked.method == "options" and not options.custom_options:
            return _written(call, WebAnswer(200), cors)
    except RequestError as error:
        return web_failed(call, error.status, str(error))
    try:
        _check_admitted(asked, options, caller)
        payload = arguments(
            asked,
            await bodies.opaque(call),
            raw=options.raw,
            final=runnable.final,
            user=caller.namespace if caller else None,
        )
        outcome = await _invoke(call, owner, asked.name, payload)
        return _answer_outcome(call, asked, outcome, cors)
    except (RequestError, Unavailable) as error:
        # Not after a body that could not be read, a throttle or a queue that is full.
        inside = type(error) in (BadRequest, Denied)
        text, shown = str(error), cors if inside else ()
        return web_failed(call, error.status, text, fixed=shown)


def cors_lines(asked: Asked) -> Lines:
    if "access-control-request-headers" not in asked.headers:
        return _STANDARD_CORS
    return (*_CORS, allowed_headers(asked.headers))


def allowed_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """Those that the caller asks for, else the usual ones."""
    wanted = headers.get("access-control-request-headers", _ALLOWED_HEADERS)
    return _ALLOW_HEADERS, sendable(wanted)


def _find(call: Call, name: FullName) -> tuple[Identity, Runnable]:
    """The namespace's own identity, and the action as it sees it.

    Raises:
        NotFound: whatever is wrong with the name; strangers are not told what.
    """
    owner = call.services.store.subjects.by_namespace(name.namespace)
    if owner is None:
        raise NotFound
    try:
        return owner, call.services.engine.find(owner, name)
    except TooManyRequests:
        raise
    except RequestError as error:
        raise NotFound from error


def _check_admitted(asked: Asked, options: WebOptions, caller: Identity | None) -> None:
    """Raise Denied unless the action's own door lets the caller in (B63)."""
    if options.auth is None or asked.method == "options":
        return
    if options.auth is True:
        admitted = caller is not None
    else:
        admitted = _is_secret(options.auth, asked.headers.get(_SECRET_HEADER))
    if not admitted:
        raise Denied


def _is_secret(secret: Any, given: str | None) -> bool:
    if given is None or not isinstance(secret, str | int | float):
        return False
    wanted = secret if isinstance(secret, str) else msgspec.json.encode(secret).decode()
    return hmac.compare_digest(wanted.encode(), sendable(given).encode())


async def _invoke(
    call: Call, owner: Identity, name: FullName, payload: bytes
) -> Accepted | ActivationRecord:
    services = call.services
    return await services.engine.invoke(
        owner,
        action=name,
        payload=payload,
        blocking=True,
        wait_ms=services.limits.system.blocking_wait_ms,
        transaction_id=call.transaction_id,
    )


def _answer_outcome(
    call: Call, asked: Asked, outcome: Accepted | ActivationRecord, cors: Lines
) -> Written:
    """Raises NotAcceptable in place of an answer the caller will not take (B74)."""
    activation: Lines = (("x-openwhisk-activation-id", outcome.activation_id),)
    if isinstance(outcome, Accepted):
        return web_failed(call, 202, _NOT_READY, fixed=cors, lines=activation)
    try:
        found = _transcoded(asked.extension, outcome.response)
    except (BadRequest, NotFound) as error:
        text = str(error)
        return web_failed(call, error.status, text, fixed=cors, lines=activation)
    if found.media is not None:
        accept = asked.headers.get("accept")
        if accept is not None and not accepts(accept, found.media.name):
            raise NotAcceptable(found.media.header)
    return _written(call, found, cors, activation)


def _transcoded(extension: str, response: Response) -> WebAnswer:
    """Raises BadRequest or NotFound: as `transcode`, or the action broke (B73)."""
    match response.code:
        case Status.SUCCESS:
            return transcode(extension, bytes(response.result), success=True)
        case Status.APPLICATION_ERROR:
            error = _fields.decode(response.result)["error"]
            return transcode(extension, bytes(error), success=False)
        case _:
            raise BadRequest(_FAILED)


def _written(
    call: Call, found: WebAnswer, cors: Lines, activation: Lines = ()
) -> Written:
    """An action's own CORS headers replace ours (ours; see B69)."""
    own = {name.lower() for name, _ in found.headers}
    typed = () if found.media is None else (("Content-Type", found.media.header),)
    return Written(
        found.status,
        found.body,
        fixed=tuple(line for line in cors if line[0].lower() not in own)
        if own
        else cors,
        lines=((REQUEST_ID, call.transaction_id), *activation, *typed, *found.headers),
    )
