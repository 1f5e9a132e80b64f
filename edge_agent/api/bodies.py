"""Request bodies: size, type, whether they are JSON (A7, A56, A58, A71, A72).

Bodies stay bytes. A payload is only checked to be one JSON object, one level deep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import msgspec
from aiohttp import StreamReader
from aiohttp.web_request import BaseRequest
from msgspec import Raw

from edge_agent.api.call import Call
from edge_agent.model.errors import (
    BodyTimeout,
    BodyTooLarge,
    MalformedContent,
    TooLarge,
    UnsupportedMediaType,
)
from edge_agent.model.numbers import in_range

_JSON = "application/json"
#: Deeper nesting is refused (ours): whatever reads the value recursively can do so.
DEPTH_MOST = 500
#: Each second that a body takes beyond its time must bring so many bytes.
PACE_BYTES = 8 << 10
#: Brackets as steps of depth: one more, one less as a signed byte.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_object = msgspec.json.Decoder(dict[str, Raw])
_anything = msgspec.json.Decoder(Raw)


async def payload(call: Call) -> bytes:
    """The JSON object that an action or trigger is given; `{}` when there is no body.

    Raises:
        TooLarge, UnsupportedMediaType, MalformedContent: see A56, A72, A71.
    """
    body = await opaque(call)
    if not body:
        return b"{}"
    _check_type(call.request)
    check_numbers(body, _check_json(body, _object))
    return body


async def opaque(call: Call) -> bytes:
    """A body of whatever type; empty when there is none.

    Raises:
        TooLarge: see A56.
    """
    limit = call.services.limits.system.payload_bytes
    length = call.request.content_length
    if length is not None and length > limit:
        raise TooLarge("Request", size=length, limit=limit)
    if not call.request.can_read_body:
        return b""
    body = await _read(call, limit)
    if len(body) > limit:
        raise TooLarge("Request", size=len(body), limit=limit)
    return body


def fields_or_value(body: bytes) -> dict[str, Raw] | Raw:
    """JSON, read one level deep when it is an object.

    Raises:
        MalformedContent: it is no JSON (A58).
    """
    is_object = body[:64].lstrip()[:1] == b"{"
    found: dict[str, Raw] | Raw = _check_json(body, _object if is_object else _anything)
    check_numbers(body, None if isinstance(found, Raw) else found)
    return found


async def document(call: Call) -> bytes:
    """The JSON text of a PUT, read by the catalogue; empty when there is none.

    Raises:
        BodyTooLarge, UnsupportedMediaType, MalformedContent: see A7, A72.
    """
    limit = call.services.settings.server.body_bytes
    length = call.request.content_length
    if length is not None and length > limit:
        raise BodyTooLarge
    if not call.request.can_read_body:
        return b""
    body = await _read(call, limit)
    if len(body) > limit:
        raise BodyTooLarge
    if body:
        _check_type(call.request)
        _check_json(body, _anything)
    return body


def check_numbers(body: bytes, fields: Mapping[str, Raw] | None) -> None:
    """Raise MalformedContent for a number that nobody can hold."""
    if not in_range(body, fields):
        raise MalformedContent("Number out of range")


def check_depth(body: bytes) -> None:
    """Raise MalformedContent when JSON is nested more than DEPTH_MOST deep.

    `body` is known to be JSON: quotes that are not escaped come in pairs.
    """
    if not _has_many(body, b"[") and not _has_many(body, b"{"):
        return
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(plain.split(b'"')[::2])
    brackets = outside_strings.translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(brackets).cast("b")), default=0) > DEPTH_MOST:
        raise MalformedContent("JSON input nested too deeply")


def _has_many(body: bytes, bracket: bytes) -> bool:
    """Whether there are enough to nest too deep; `count` is ten times slower."""
    place = -1
    for _ in range(DEPTH_MOST // 2):
        place = body.find(bracket, place + 1)
        if place < 0:
            return False
    return True


async def _read(call: Call, limit: int) -> bytes:
    """At most a piece more than `limit` bytes of the body, unpacked."""
    content = call.request.content
    if call.request.headers.get("Expect", "").lower() == "100-continue":
        await _continue(call.request)
    if content.is_eof():
        return content.read_nowait()
    try:
        timeout_s = call.services.settings.server.request_timeout_s
        return b"".join(await _pieces(content, limit, timeout_s))
    except TimeoutError as error:
        raise BodyTimeout from error


async def _pieces(content: StreamReader, limit: int, timeout_s: float) -> list[bytes]:
    """What comes; a sender that stalls, or dribbles, is given up (A7).

    Raises:
        TimeoutError: so it is.
    """
    pieces, size = [], 0
    deadline = asyncio.get_running_loop().time() + timeout_s
    async with asyncio.timeout_at(deadline) as patience:
        while not content.at_eof() and size <= limit:
            pieces.append(await content.readany())
            size += len(pieces[-1])
            patience.reschedule(deadline + size / PACE_BYTES)
    return pieces


async def _continue(request: BaseRequest) -> None:
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # The answer proper has not begun.
    writer.output_size = 0


def _check_type(request: BaseRequest) -> None:
    sent = request.headers.get("Content-Type")
    if sent == _JSON:
        return
    if sent is None:
        raise UnsupportedMediaType("application/octet-stream")
    if sent.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType(sent)


def _check_json(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Raise MalformedContent unless the body is what `decoder` takes."""
    try:
        found = decoder.decode(body)
        if not body.isascii():
            body.decode()
    except msgspec.ValidationError as error:
        raise MalformedContent("JSON object expected") from error
    except RecursionError as error:
        raise MalformedContent("JSON input nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedContent(str(error)) from error
    check_depth(body)
    return found
