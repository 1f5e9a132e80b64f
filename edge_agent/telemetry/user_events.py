"""OpenWhisk's user events: what it tells of each activation that has ended (E13)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.entities import ActionLimits

#: A larger result is not looked at for its statusCode.
RESULT_BYTES = 64 << 10
#: There is one invoker and it has this name.
SOURCE = "invoker0"


class Activation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Times in ms, sizes in bytes, memory in MB."""

    name: str
    activation_id: str
    status_code: int
    duration: int
    wait_time: int
    init_time: int
    kind: str
    conductor: bool
    memory: int
    caused_by: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    user_defined_status_code: int | UnsetType = UNSET


class UserEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    body: Activation
    subject: str
    namespace: str
    user_id: str
    timestamp: int
    event_type: Literal["Activation"] = "Activation"
    source: str = SOURCE


class _Coded(msgspec.Struct):
    code: Any = msgspec.field(name="statusCode", default=None)


_decode = msgspec.json.Decoder(_Coded).decode
encode = msgspec.json.Encoder().encode


def event_of(record: ActivationRecord, *, user_id: str) -> UserEvent | None:
    """None of a trigger, of which upstream tells nothing either."""
    if record.end is UNSET:
        return None
    found = {one.key: one.value for one in record.annotations}
    limits = found.get("limits")
    return UserEvent(
        body=Activation(
            name=str(found.get("path", f"{record.namespace}/{record.name}")),
            activation_id=record.activation_id,
            status_code=int(record.response.code),
            duration=record.duration or 0,
            wait_time=found.get("waitTime", 0),
            init_time=found.get("initTime", 0),
            kind=found.get("kind", "unknown"),
            conductor=bool(found.get("conductor")),
            memory=limits.memory if isinstance(limits, ActionLimits) else 0,
            caused_by=found.get("causedBy", UNSET),
            size=record.response.size,
            user_defined_status_code=_status_code(record),
        ),
        subject=record.subject,
        namespace=record.namespace,
        user_id=user_id,
        timestamp=int(record.end),
    )


def _status_code(record: ActivationRecord) -> int | UnsetType:
    result = record.response.result
    if len(memoryview(result)) <= RESULT_BYTES:
        with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            code = _decode(result).code
            return code if isinstance(code, int) else UNSET
    return UNSET
