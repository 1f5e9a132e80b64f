"""Spans of OpenTelemetry: what they are made of, and OTLP's JSON of them.

Written down by ourselves: OTLP over HTTP takes JSON, and a span is a dozen fields. The
SDK would cost a node more memory than all of its entities do.

Ids come from what is there already, so that nothing has to be remembered or passed on:
a trace is that of a transaction id, an activation's span is the second half of its id.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

#: `traceparent`, of W3C's Trace Context, version 00.
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
SPAN_ID_LENGTH = 16
MS_NS = 1_000_000
SCOPE = "edgewhisk"


class Kind(IntEnum):
    INTERNAL = 1
    SERVER = 2
    PRODUCER = 4
    CONSUMER = 5


class Context(NamedTuple):
    """Where in a trace something is: hex ids, as they are written."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Times in epoch ms; `error` is empty when it went well."""

    context: Context
    parent: str
    name: str
    start_ms: float
    end_ms: float
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, str | int | bool] = {}
    error: str = ""


def parse_traceparent(text: str | None) -> Context | None:
    """None of what is none, or says that there is no trace."""
    found = _PARENT.fullmatch(text or "")
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return Context(found[1], found[2])


def new_context() -> Context:
    return Context(secrets.token_hex(16), secrets.token_hex(8))


def trace_id_of(transaction_id: str) -> str:
    return blake2b(transaction_id.encode(errors="replace"), digest_size=16).hexdigest()


def span_id_of(activation_id: str) -> str:
    return activation_id[-SPAN_ID_LENGTH:]


def span_id_within(activation_id: str, part: str) -> str:
    """The span of something that belongs to an activation and has no id: its rule."""
    return blake2b(f"{activation_id}/{part}".encode(), digest_size=8).hexdigest()


def otlp_json(
    spans: Iterable[Span], *, resource: Mapping[str, str | int | bool]
) -> bytes:
    """An ExportTraceServiceRequest."""
    return msgspec.json.encode(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(resource)},
                    "scopeSpans": [
                        {"scope": {"name": SCOPE}, "spans": [*map(_span, spans)]}
                    ],
                }
            ]
        }
    )


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.context.trace_id,
        "spanId": span.context.span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(round(span.start_ms * MS_NS)),
        "endTimeUnixNano": str(round(span.end_ms * MS_NS)),
        "attributes": _attributes(span.attributes),
        "status": {"code": 2, "message": span.error} if span.error else {"code": 1},
    }
    if span.parent:
        found["parentSpanId"] = span.parent
    return found


def _attributes(pairs: Mapping[str, str | int | bool]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in pairs.items()]


def _value(value: str | bool | int) -> dict[str, Any]:  # noqa: FBT001 it is a value
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case _:
            return {"stringValue": value}
