"""From an action's result to an HTTP answer: what the extension means (B70-B73).

Pure. A result is JSON text and stays it where nothing has to be known of the inside.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from edge_agent.api.media import (
    HTML_TYPE,
    JSON_TYPE,
    SVG_TYPE,
    TEXT_TYPE,
    MediaType,
    read_media_type,
)
from edge_agent.api.written import Lines
from edge_agent.model.errors import BadRequest, NotFound

_NOT_HTTP = "Response is not valid 'message/http'."
_UNKNOWN_TYPE = "Response did not specify a known content-type."
_OTHER_TYPE = "Response type in header did not match generated content type."
_NOT_VALID = "Response is not valid '{}'."
_NO_PROPERTY = "Response does not include requested property."

#: More in an action's headers than clients and proxies take (ours).
_HEADER_BYTES = 32 << 10
#: Longer JSON goes out as it is: nobody reads it, and spreading it takes the loop.
_PRETTY_BYTES = 32 << 10
_STATUS_TEXT = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Ours to say; upstream drops them too.
_OURS = frozenset(
    ("content-length", "transfer-encoding", "connection", "date", "server")
)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)
_BASE64_REST = 4

_fields = msgspec.json.Decoder(dict[str, Raw])
_any_fields = msgspec.json.Decoder(dict[str, Any])
_any = msgspec.json.Decoder()
_string = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class WebAnswer(NamedTuple):
    """`media` is None when there is nothing to be typed; `headers` are the action's."""

    status: int
    media: MediaType | None = None
    body: bytes = b""
    headers: Lines = ()


def transcode(extension: str, result: bytes, *, success: bool) -> WebAnswer:
    """What an action's result is as an answer.

    Raises:
        BadRequest, NotFound: the result is not what the extension promises (B71, B72).
    """
    if success and result[:64].lstrip()[:1] == b"[":
        return _array(extension, result)
    return TRANSCODERS[extension](result)


def pretty(text: bytes) -> bytes:
    """JSON spread over lines (B75)."""
    if len(text) > _PRETTY_BYTES:
        return text
    try:
        return msgspec.json.format(text)
    except (msgspec.MsgspecError, RecursionError):  # too deep
        return text


# -- .json .html .svg .text ------------------------------------------------------


def _array(extension: str, result: bytes) -> WebAnswer:
    if extension != ".json":
        raise BadRequest(_INVALID[extension])
    return WebAnswer(HTTPStatus.OK, JSON_TYPE, pretty(result))


def _as_json(result: bytes) -> WebAnswer:
    if _object(result) is None:
        raise BadRequest(_INVALID[".json"])
    return WebAnswer(HTTPStatus.OK, JSON_TYPE, pretty(result))


def _as_html(result: bytes) -> WebAnswer:
    return _as_string(".html", result, HTML_TYPE)


def _as_svg(result: bytes) -> WebAnswer:
    return _as_string(".svg", result, SVG_TYPE)


def _as_string(extension: str, result: bytes, media: MediaType) -> WebAnswer:
    value = _property(result, extension[1:])
    if value is None or not _is_string(value):
        raise BadRequest(_INVALID[extension])
    return WebAnswer(HTTPStatus.OK, media, _string.decode(value).encode())


def _as_text(result: bytes) -> WebAnswer:
    value = _property(result, "text")
    if value is None:
        raise NotFound(text=_NO_PROPERTY)
    return WebAnswer(HTTPStatus.OK, TEXT_TYPE, _printed(value))


def _property(result: bytes, name: str) -> bytes | None:
    """`body`, else the one called `name`; a value that is no object is itself meant."""
    fields = _object(result)
    if fields is None:
        return result
    found = fields.get("body", fields.get(name))
    return None if found is None else bytes(found)


def _printed(value: bytes) -> bytes:
    if _is_string(value):
        return _string.decode(value).encode()
    if value[:1] != b"[":
        return pretty(value)
    try:
        return msgspec.json.format(value, indent=0)
    except (msgspec.MsgspecError, RecursionError):
        return value


# -- .http -----------------------------------------------------------------------


def _as_http(result: bytes) -> WebAnswer:
    fields = _object(result)
    if fields is None:
        raise BadRequest(_NOT_HTTP)
    status = _status(fields.get("statusCode"))
    headers, content_type = _split_type(_headers(fields.get("headers")))
    body = bytes(fields.get("body", b"null"))
    if body in (b"null", b'""'):
        return WebAnswer(status or HTTPStatus.NO_CONTENT, headers=headers)
    if _is_string(body):
        media, sent = _string_body(_string.decode(body), content_type)
    else:
        media, sent = _json_body(body, content_type)
    if status in _BODILESS:
        return WebAnswer(status, headers=headers)
    return WebAnswer(status or HTTPStatus.OK, media, sent, headers)


def _status(raw: Raw | None) -> int:
    """0 when there is none; a 1xx would hang the client (ours)."""
    if raw is None:
        return 0
    value = _decoded(_any, raw)
    if isinstance(value, str) and _STATUS_TEXT.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 200 <= value <= 599:  # noqa: PLR2004 HTTP's
        raise BadRequest(_NOT_HTTP)
    return value


def _headers(raw: Raw | None) -> list[tuple[str, str]]:
    """Those that may be sent: none can split or outgrow the answer."""
    if raw is None:
        return []
    found = _decoded(_any_fields, raw)
    lines = [
        (name, text) for name, value in found.items() for text in _header_texts(value)
    ]
    for name, text in lines:
        if _HEADER_NAME.fullmatch(name) is None or _CONTROL.search(text):
            raise BadRequest(_NOT_HTTP)
    if sum(len(name) + len(text) for name, text in lines) > _HEADER_BYTES:
        raise BadRequest(_NOT_HTTP)
    return lines


def _header_texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value.strip(" \t")
        case bool() | int() | float():
            yield _encode(value).decode()
        case list():
            for one in value:
                yield from _header_texts(one)
        case _:
            raise BadRequest(_NOT_HTTP)


def _split_type(lines: list[tuple[str, str]]) -> tuple[Lines, str | None]:
    """The lines that go out as they are, and the content type."""
    types = [text for name, text in lines if name.lower() == "content-type"]
    kept = ((n, t) for n, t in lines if n.lower() not in {*_OURS, "content-type"})
    return tuple(kept), types[0] if types else None


def _string_body(text: str, content_type: str | None) -> tuple[MediaType, bytes]:
    media = _media(content_type, HTML_TYPE)
    if media.text and not media.json:
        return media, text.encode()
    try:
        return media, _from_base64(text)
    except (binascii.Error, ValueError) as error:
        if media.json:
            return media, text.encode()
        raise BadRequest(_OTHER_TYPE) from error


def _json_body(body: bytes, content_type: str | None) -> tuple[MediaType, bytes]:
    media = _media(content_type, JSON_TYPE)
    if not media.json:
        raise BadRequest(_OTHER_TYPE)
    return media, pretty(body)


def _media(content_type: str | None, default: MediaType) -> MediaType:
    if content_type is None:
        return default
    media = read_media_type(content_type)
    if media is None:
        raise BadRequest(_UNKNOWN_TYPE)
    return media


def _from_base64(text: str) -> bytes:
    """As Java reads it: the padding at the end may be missing."""
    rest = -len(text) % _BASE64_REST
    padded = text if "=" in text else text + "=" * rest
    return base64.b64decode(padded, validate=True)


# -- JSON text -------------------------------------------------------------------


def _object(text: bytes) -> Mapping[str, Raw] | None:
    try:
        return _fields.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _decoded(decoder: msgspec.json.Decoder[Any], raw: Raw) -> Any:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadRequest(_NOT_HTTP) from error


def _is_string(value: bytes) -> bool:
    return value[:1] == b'"'


TRANSCODERS: Mapping[str, Callable[[bytes], WebAnswer]] = {
    ".json": _as_json,
    ".html": _as_html,
    ".http": _as_http,
    ".svg": _as_svg,
    ".text": _as_text,
}
_INVALID = {
    ".json": _NOT_VALID.format("application/json"),
    ".html": _NOT_VALID.format("text/html"),
    ".http": _NOT_HTTP,
    ".svg": _NOT_VALID.format("image/svg+xml"),
    ".text": _NOT_VALID.format("text/plain"),
}
