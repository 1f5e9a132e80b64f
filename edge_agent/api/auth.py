"""Basic authentication with a namespace's key (A50, A51, F1)."""

from __future__ import annotations

import base64
import binascii

from edge_agent.api.call import Call
from edge_agent.model.errors import Forbidden, Unauthorized
from edge_agent.model.jobs import Identity
from edge_agent.model.names import SYSTEM_NAMESPACE

_SCHEME = "basic "
_NOT_SUPPLIED = (
    "The resource requires authentication, which was not supplied with the request"
)
_INVALID = "The supplied authentication is invalid"


def authenticate(call: Call) -> Identity:
    """Who calls.

    Raises:
        Unauthorized: no readable Basic credentials (A50), or unknown ones (A51).
    """
    header = call.request.headers.get("Authorization", "")
    identity = _identify(call, header)
    if identity is None:
        raise Unauthorized(_INVALID)
    return identity


def known_caller(call: Call) -> Identity | None:
    """Who calls where nobody has to say so; what cannot be read is nobody (B64)."""
    header = call.request.headers.get("Authorization")
    if header is None:
        return None
    try:
        return _identify(call, header)
    except Unauthorized:
        return None


def _identify(call: Call, header: str) -> Identity | None:
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthorized(_NOT_SUPPLIED)
    try:
        auth = base64.b64decode(header[len(_SCHEME) :].strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthorized(_NOT_SUPPLIED) from error
    return call.services.store.subjects.by_key(auth)


def check_system(call: Call) -> None:
    """Raise Forbidden unless the caller has the node's own key."""
    if call.identity.namespace != SYSTEM_NAMESPACE:
        raise Forbidden(call.request.path)
