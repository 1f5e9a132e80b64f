"""What a composition does next (B55-B59): pure, values in and values out.

A conductor is an action that is asked again and again what to run. Its result is read
by `read_result`; what it is told next is made by `next_payload`. Nothing but these two
and the counts of a `Budget`, which nested compositions share, decides the course.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.engine.resolve import is_array
from edge_agent.model.activations import Response, Status, failure, success
from edge_agent.model.errors import IllegalName
from edge_agent.model.names import FullName

TOO_MANY = "Too many actions in the composition."
FAILED = "Activation failure during composition."

_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_ROOTED_MOST = 3


class Budget(msgspec.Struct):
    """What a composition and those inside it have used; the one mutable thing here."""

    conductors: int = 0
    components: int = 0


class Invoke(msgspec.Struct, frozen=True):
    """Run this action; `state` is for the conductor's next run."""

    action: FullName
    payload: bytes
    state: bytes | None


class Tell(msgspec.Struct, frozen=True):
    """Run the conductor again, and tell it of an error."""

    error: str
    state: bytes | None


class Finish(msgspec.Struct, frozen=True):
    """The composition has ended with this response."""

    response: Response


Step = Invoke | Tell | Finish


def may_conduct(budget: Budget, *, limit: int) -> bool:
    """Whether a conductor may be run once more; `limit` is that of components."""
    return budget.conductors <= 2 * limit


def too_many() -> Response:
    return failure(Status.APPLICATION_ERROR, TOO_MANY)


def read_result(response: Response, *, own: str, budget: Budget, limit: int) -> Step:
    """What follows a run of the conductor.

    Args:
        response: how it ended; one that failed ends the composition (B56).
        own: the namespace in which names are looked up (B57).
        budget: what has been used.
        limit: how many components may be run.
    """
    if not response.success:
        return Finish(_unsized(response))
    text = bytes(response.result)
    if is_array(text):
        return Finish(success(text))
    fields = _fields.decode(text)
    params = boxed(fields.get("params"), "value")
    action = fields.get("action")
    if action is None:
        return Finish(success(text if params is None else params))
    state = boxed(fields.get("state"), "state")
    name = read_name(msgspec.json.decode(action), own=own)
    if name is None:
        return Tell(_not_a_name(action), state)
    if budget.components >= limit:
        return Tell(TOO_MANY, state)
    return Invoke(name, params or b"{}", state)


def next_payload(result: bytes, state: bytes | None) -> bytes:
    """What the conductor is told: a result, overlaid by the state it gave (B56)."""
    told = boxed(Raw(result), "value") or b"{}"
    if state is None:
        return told
    return _encode({**_fields.decode(told), **_fields.decode(state)})


def error_payload(error: str) -> bytes:
    return _encode({"error": error})


def boxed(value: Raw | None, key: str) -> bytes | None:
    """The JSON text of an object: the value itself, or one that has it under `key`."""
    if value is None:
        return None
    text = bytes(value)
    if text[:64].lstrip()[:1] == b"{":
        return text
    return b'{"%b":%b}' % (key.encode(), text)


def read_name(value: Any, *, own: str) -> FullName | None:
    """`name`, `pkg/name`, `/ns/name` or `/ns/pkg/name`; None when it is none of them.

    Unlike elsewhere `a/b` without a leading slash is an action of one's own package.
    """
    if not isinstance(value, str):
        return None
    parts = value.removeprefix("/").split("/")
    if not value.startswith("/") and len(parts) < _ROOTED_MOST:
        parts = ["_", *parts]
    try:
        return FullName.parse("/" + "/".join(parts), own=own)
    except IllegalName:
        return None


def not_found(name: FullName) -> str:
    return f"Failed to resolve action with name '{name}' during composition."


def not_allowed(name: FullName) -> str:
    return f"Failed entitlement check for action with name '{name}' during composition."


def _not_a_name(value: Raw) -> str:
    compact = _encode(msgspec.json.decode(value)).decode()
    return f"Failed to parse action name from json value {compact} during composition."


def _unsized(response: Response) -> Response:
    """B29: the record of a composition has no size."""
    return msgspec.structs.replace(response, size=msgspec.UNSET)
