"""Numbers of JSON that no double can hold, as `1e999`.

JSON allows them, and whoever reads them makes something else of each: Python infinity,
which is no JSON again, JavaScript `null`, Go an error. So they are refused at the edge.
Whole numbers of any length are none of these.

Payloads are not decoded for this: a search for exponents of three digits comes first,
and finds none in nearly all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from msgspec import Raw

#: Each begins with the one character that is searched for, twenty times as fast as any
#: of two.
_EXPONENTS = (re.compile(rb"e\+?[0-9]{3}"), re.compile(rb"E\+?[0-9]{3}"))
#: Of a larger object the strings are left out, which may be a megabyte.
_SMALL_BYTES = 16 << 10
#: An object of more fields is searched as a whole.
_FEW_FIELDS = 64
_QUOTE = ord('"')
_INFINITE = (float("inf"), float("-inf"))


class _OutOfRange(ValueError):
    pass


def in_range(body: bytes | memoryview, fields: Mapping[str, Raw] | None = None) -> bool:
    """Whether a double can hold each number; `fields` are those of JSON `body`."""
    if fields is None or len(body) <= _SMALL_BYTES or len(fields) > _FEW_FIELDS:
        return _in_range(body)
    return all(
        _in_range(memoryview(value))
        for value in fields.values()
        if memoryview(value)[0] != _QUOTE
    )


def _in_range(text: bytes | memoryview) -> bool:
    if not any(exponent.search(text) for exponent in _EXPONENTS):
        return True
    try:
        _decoder.decode(str(text, "utf-8", "replace"))
    except _OutOfRange:
        return False
    except (ValueError, RecursionError):  # none of JSON's is refused for another reason
        return True
    return True


def _finite(text: str) -> float:
    number = float(text)
    if number in _INFINITE:
        raise _OutOfRange
    return number


def _uncounted(_: str) -> int:
    """A whole number: turning one of a million digits would take seconds."""
    return 0


_decoder = json.JSONDecoder(parse_float=_finite, parse_int=_uncounted)
