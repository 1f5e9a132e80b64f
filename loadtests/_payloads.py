"""Bodies of a given size, made once."""

from __future__ import annotations

import json
import secrets
from functools import cache

KILOBYTE = 1024
#: 1 MB is 1,000 KB here: a mebibyte is the most that OpenWhisk takes in all.
MEGABYTE = 1000 * KILOBYTE
_HEAD, _TAIL = b'{"data": "', b'"}'
_EMPTY = len(_HEAD + _TAIL)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read "0,1024,1024000".

    Raises:
        ValueError: one is no whole number of bytes, or is a size no body has.
    """
    try:
        sizes = tuple(int(each) for each in text.split(","))
    except ValueError:
        raise ValueError(f"'{text}' is not bytes,bytes,...") from None
    for size in sizes:
        if size < 0 or 0 < size < _EMPTY:
            raise ValueError(f"{size} bytes: 0 or at least {_EMPTY} are possible")
    return sizes


def size_text(size_bytes: int) -> str:
    """17 B, 1 KB, 100,000 B, 1 MB: how a size is called in a table."""
    for unit, name in ((MEGABYTE, "MB"), (KILOBYTE, "KB")):
        if size_bytes and not size_bytes % unit:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes:,} B"


@cache
def payload(size_bytes: int) -> bytes:
    """`{"data": "..."}` of exactly that size, of characters that hardly compress.

    Of 0 bytes: `{}`, which is what a call without arguments sends.
    """
    if not size_bytes:
        return b"{}"
    room = size_bytes - _EMPTY
    return _HEAD + secrets.token_urlsafe(room)[:room].encode() + _TAIL


def same(size_bytes: int, result: object) -> bool:
    """Whether the echo has the data that was sent."""
    return result == _sent(size_bytes)


@cache
def _sent(size_bytes: int) -> object:
    return json.loads(payload(size_bytes))
