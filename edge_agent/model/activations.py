"""Activations: what a run said, what that means, and the record of it.

Three steps, all pure: a sandbox reports what the runtime *said* (`Said`), `read_init`
and `read_run` tell what it means to the caller (`Response`, c.2 of the contract), and
`make_record` writes it down (b.6).
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edge_agent.model.entities import KeyValue, Wire
from edge_agent.model.limits import MEBIBYTE
from edge_agent.model.numbers import in_range


class Status(IntEnum):
    """`statusCode` of summaries, logs of triggers and user events (B30)."""

    SUCCESS = 0
    APPLICATION_ERROR = 1
    DEVELOPER_ERROR = 2
    WHISK_ERROR = 3

    @property
    def text(self) -> str:
        return _STATUS_TEXT[self]


_STATUS_TEXT = (
    "success",
    "application error",
    "action developer error",
    "whisk internal error",
)


class StartKind(StrEnum):
    """How the sandbox of a run was had (D11)."""

    WARM = "warm"
    PREWARMED = "prewarmed"
    COLD = "cold"


class Cause(StrEnum):
    """Why a sandbox gave no answer."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    TOO_LONG = "too long"


class Answer(msgspec.Struct, frozen=True):
    """The runtime answered: `body` is JSON text; `ok` is its 2xx."""

    body: bytes | memoryview
    ok: bool = True


class Gone(msgspec.Struct, frozen=True):
    """The runtime gave no usable answer. `size` is the length of one TOO_LONG.

    `start` is what could be kept of an answer that was too long. `unread` is True when
    it is certain that nothing of the request was read: then another sandbox may run it.
    """

    cause: Cause
    size: int = 0
    start: bytes = b""
    unread: bool = False


Said = Answer | Gone


class Response(Wire, frozen=True, kw_only=True):
    """`response` of a record (B29); `result` is JSON text, passed through as it is."""

    status: str
    success: bool
    result: Raw
    size: int | UnsetType = UNSET

    @property
    def code(self) -> Status:
        return Status(_STATUS_TEXT.index(self.status))


def success(result: bytes | memoryview, *, size: int | UnsetType = UNSET) -> Response:
    return Response(status=_STATUS_TEXT[0], success=True, result=Raw(result), size=size)


def failure(status: Status, error: Any, *, size: int | UnsetType = UNSET) -> Response:
    """A response `{"error": error}`; `error` is any JSON value (A83)."""
    result = Raw(msgspec.json.encode({"error": error}))
    return Response(status=status.text, success=False, result=result, size=size)


_STATUS_CODES = range(100, 600)
_BAD_REQUEST = 400
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ARRAY = msgspec.json.Decoder(list[Raw])
#: What a runtime's answer may make a decoder raise: it may be anything.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_init(said: Said, *, timeout_ms: int, response_limit: int) -> Response | None:
    """None when the runtime is ready, else the developer error of C13-C15."""
    developer = Status.DEVELOPER_ERROR
    match said:
        case Answer(ok=True):
            return None
        case Answer(body=body):
            error: Raw | str | None = _error_field(body)
            if error is None:
                text = str(body, errors="replace")
                error = f"The action failed during initialization: {text}"
            return failure(developer, error, size=len(body))
        case Gone(cause=Cause.TIMED_OUT):
            text = (
                f"The action exceeded its time limits of {timeout_ms} milliseconds "
                "during initialization."
            )
            return failure(developer, text)
        case Gone(cause=Cause.EXITED):
            return failure(
                developer, "The action did not initialize and exited unexpectedly."
            )
        case gone:
            return failure(developer, _gone_text(gone, limit=response_limit))


def read_run(
    said: Said, *, timeout_ms: int, response_limit: int = MEBIBYTE
) -> Response:
    """What a run's answer means (C7-C12, C15, C16)."""
    return read_coded_run(said, timeout_ms=timeout_ms, response_limit=response_limit)[0]


def read_coded_run(
    said: Said, *, timeout_ms: int, response_limit: int
) -> tuple[Response, int]:
    """The same, with the `statusCode` that a result has (E8), 0 without one.

    It is looked up here because here the result is open; it may be a megabyte.
    """
    if isinstance(said, Answer) and said.ok:
        return _read_result(said.body, response_limit)
    return _read_failure(said, timeout_ms=timeout_ms, response_limit=response_limit), 0


def _read_failure(said: Said, *, timeout_ms: int, response_limit: int) -> Response:
    developer = Status.DEVELOPER_ERROR
    match said:
        case Answer(body=body):
            error = _error_field(body)
            return failure(
                developer,
                _invalid(body) if error is None else error,
                size=len(body),
            )
        case Gone(cause=Cause.TIMED_OUT):
            return failure(
                developer,
                f"The action exceeded its time limits of {timeout_ms} milliseconds.",
            )
        case Gone(cause=Cause.TOO_LONG) as gone:
            return failure(
                Status.APPLICATION_ERROR, _gone_text(gone, limit=response_limit)
            )
        case gone:
            return failure(developer, _gone_text(gone, limit=response_limit))


def _read_result(body: bytes | memoryview, limit: int) -> tuple[Response, int]:
    if len(body) > limit:
        gone = Gone(Cause.TOO_LONG, len(body), bytes(body[:limit]))
        return failure(Status.APPLICATION_ERROR, _gone_text(gone, limit=limit)), 0
    try:
        fields = _OBJECT.decode(body)
        _check_utf8(body)
    except _UNREADABLE:
        return _read_array(body), 0
    if not in_range(body, fields):
        return _out_of_range(body), 0
    if "error" not in fields:
        code = fields.get("statusCode")
        return success(body, size=len(body)), 0 if code is None else _status_code(code)
    # A67a: of a failed result only `error` is kept; the size counts the whole.
    only = b'{"error":%b}' % bytes(fields["error"])
    response = Response(
        status=_STATUS_TEXT[Status.APPLICATION_ERROR],
        success=False,
        result=Raw(only),
        size=len(body),
    )
    return response, _code_of_error(fields)


def _code_of_error(fields: dict[str, Raw]) -> int:
    """That of the error's own fields, else that of the result's."""
    code = fields.get("statusCode")
    with suppress(*_UNREADABLE):
        code = _OBJECT.decode(fields["error"]).get("statusCode", code)
    return 0 if code is None else _status_code(code)


def _status_code(raw: Raw) -> int:
    """What is no status of HTTP counts as 400: there are not many of them then."""
    with suppress(*_UNREADABLE):
        code = msgspec.json.decode(raw)
        if isinstance(code, int) and code in _STATUS_CODES:
            return int(code)
    return _BAD_REQUEST


def _read_array(body: bytes | memoryview) -> Response:
    try:
        _ARRAY.decode(body)
        _check_utf8(body)
    except _UNREADABLE:
        return failure(Status.DEVELOPER_ERROR, _invalid(body), size=len(body))
    if not in_range(body):
        return _out_of_range(body)
    return success(body, size=len(body))


def _out_of_range(body: bytes | memoryview) -> Response:
    text = "The action did not produce a valid JSON or JSON Array response: "
    text += "a number is out of range."
    return failure(Status.DEVELOPER_ERROR, text, size=len(body))


def _check_utf8(body: bytes | memoryview) -> None:
    """Strings inside a Raw are not looked at, and go out as they are."""
    whole = body if isinstance(body, bytes) else body.obj
    if not (isinstance(whole, bytes) and whole.isascii()):
        str(body, "utf-8")


def _error_field(body: bytes | memoryview) -> Raw | None:
    try:
        _check_utf8(body)
        return _OBJECT.decode(body).get("error")
    except _UNREADABLE:
        return None


def _invalid(body: bytes | memoryview) -> str:
    text = str(body, errors="replace")
    return f"The action did not produce a valid JSON or JSON Array response: {text}"


def _gone_text(gone: Gone, *, limit: int) -> str:
    match gone.cause:
        case Cause.OUT_OF_MEMORY:
            return "The action exhausted its memory and was aborted."
        case Cause.TOO_LONG:
            start = gone.start.decode(errors="ignore")
            return (
                "The action produced a response that exceeded the allowed length: "
                f"{gone.size} > {limit} bytes. The truncated response was: {start}"
            )
        case _:
            return (
                "The action did not produce a valid response and exited unexpectedly."
            )


class ActivationRecord(Wire, frozen=True, kw_only=True):
    """One activation (B28); `start` and `end` in epoch ms, `duration` in ms."""

    namespace: str
    name: str
    version: str
    subject: str
    activation_id: str
    start: int
    response: Response
    end: int | UnsetType = UNSET
    duration: int | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    logs: list[str] = []
    annotations: list[KeyValue] = []
    publish: bool = False

    def annotation(self, key: str) -> Any:
        return next((a.value for a in self.annotations if a.key == key), None)


class ActivationSummary(Wire, frozen=True, kw_only=True):
    """List item (B31)."""

    namespace: str
    name: str
    version: str
    publish: bool
    annotations: list[KeyValue]
    activation_id: str
    start: int
    status_code: int
    end: int | UnsetType = UNSET
    duration: int | UnsetType = UNSET
    cause: str | UnsetType = UNSET


def summary(record: ActivationRecord) -> ActivationSummary:
    return ActivationSummary(
        namespace=record.namespace,
        name=record.name,
        version=record.version,
        publish=record.publish,
        annotations=record.annotations,
        activation_id=record.activation_id,
        start=record.start,
        status_code=int(record.response.code),
        end=record.end,
        duration=record.duration,
        cause=record.cause,
    )
