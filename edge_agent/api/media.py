"""Media types: which are text, which JSON, and what a caller takes (B65-B74).

The lists are those of upstream's HTTP library: a type it does not know is binary unless
a charset is named with it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
OCTETS = "application/octet-stream"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 a word of RFC 9110
_PARAMETER = rf'{_TOKEN}=(?:{_TOKEN}|"[^"\\]*")'
_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})((?:[ \t]*;[ \t]*{_PARAMETER})*)[ \t]*;?")
_PARAMETERS = re.compile(_PARAMETER)
#: A longer type is none: what strangers send must not fill the memory.
_LONGEST = 256

_TEXTS = frozenset(
    f"application/{name}"
    for name in (
        "atom+xml",
        "javascript",
        "json",
        "json-patch+json",
        "merge-patch+json",
        "problem+json",
        "rss+xml",
        "soap+xml",
        "vnd.api+json",
        "vnd.google-earth.kml+xml",
        "x-www-form-urlencoded",
        "xhtml+xml",
        "xml",
        "xml-dtd",
    )
)
#: Binary whatever charset is named; `image/svg+xml` too, upstream.
_BINARY = ("image/", "audio/", "video/", "font/", "multipart/")


class MediaType(NamedTuple):
    """`name` in lower case; `parameters` as `; key=value…`, without the charset."""

    name: str
    parameters: str
    text: bool

    @property
    def json(self) -> bool:
        return self.name == JSON or self.name.endswith("+json")

    @property
    def header(self) -> str:
        """The `Content-Type` of an answer: text is always UTF-8, JSON needs no word."""
        charset = "; charset=UTF-8" if self.text and not self.json else ""
        return f"{self.name}{self.parameters}{charset}"


BINARY = MediaType(OCTETS, "", text=False)
JSON_TYPE = MediaType(JSON, "", text=True)
HTML_TYPE = MediaType("text/html", "", text=True)
TEXT_TYPE = MediaType("text/plain", "", text=True)
SVG_TYPE = MediaType("image/svg+xml", "", text=False)


def read_media_type(value: str) -> MediaType | None:
    """None when it cannot be read."""
    return _read(value) if len(value) <= _LONGEST else None


@lru_cache(maxsize=64)
def _read(value: str) -> MediaType | None:
    found = _TYPE.fullmatch(value.strip())
    if found is None:
        return None
    name = found[1].lower()
    parameters = _PARAMETERS.findall(found[2])
    others = [p for p in parameters if not p.lower().startswith("charset=")]
    return MediaType(
        name,
        "".join(f"; {parameter}" for parameter in others),
        text=_is_text(name, charset=len(others) < len(parameters)),
    )


def _is_text(name: str, *, charset: bool) -> bool:
    if name.startswith("text/") or name in _TEXTS:
        return True
    return charset and not name.startswith(_BINARY) and name != OCTETS


def accepts(accept: str, name: str) -> bool:
    """Whether a caller that sends `accept` takes what is called `name`."""
    if len(accept) > _LONGEST:
        return _accepts.__wrapped__(accept, name)
    return _accepts(accept, name)


@lru_cache(maxsize=128)
def _accepts(accept: str, name: str) -> bool:
    """Of the ranges that match the closest counts (RFC 9110, 12.5.1)."""
    ranges = ("*/*", f"{name.partition('/')[0]}/*", name)
    closest, taken = -1, False
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        rank = ranges.index(media) if media in ranges else 0 if not media else -1
        if rank >= max(closest, 0):
            closest, taken = rank, not _NONE.intersection(parameters)
    return taken


_NONE = frozenset(("q=0", "q=0.0", "q=0.00", "q=0.000"))
