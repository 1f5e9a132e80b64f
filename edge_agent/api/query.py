"""Query parameters (A8, A27, A45, A60, A77). Parsed once per query string."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import parse_qsl

import msgspec

from edge_agent.model.errors import BadRequest, IllegalName, MalformedQuery
from edge_agent.model.limits import SystemLimits
from edge_agent.model.names import check_name

_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_INT_MAX = 2**31 - 1
#: Each may be 8 KB.
_CACHED = 128


class InvokeQuery(msgspec.Struct, frozen=True):
    """`wait_ms` is how long a blocking caller waits."""

    blocking: bool
    result: bool
    wait_ms: int


class Page(msgspec.Struct, frozen=True):
    """Which part of a list; `count` asks for its length instead."""

    skip: int
    limit: int
    count: bool


class ActivationFilter(msgspec.Struct, frozen=True):
    """`since` and `upto` in epoch ms; `docs` asks for whole records."""

    name: str | None
    since: int | None
    upto: int | None
    docs: bool


@lru_cache(maxsize=_CACHED)
def parameters(query: str) -> dict[str, str]:
    """The parameters; of equal ones the first counts. Not to be changed."""
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(key, value)
    return found


def flag(query: str, name: str, *, default: bool = False) -> bool:
    """A boolean; empty means the default (A8)."""
    value = parameters(query).get(name, "") if query else ""
    if not value:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise MalformedQuery(name, f"'{value}' is not a valid Boolean value")


@lru_cache(maxsize=_CACHED)
def invoke_query(query: str, wait_most_ms: int) -> InvokeQuery:
    return InvokeQuery(
        blocking=flag(query, "blocking"),
        result=flag(query, "result"),
        wait_ms=_wait_ms(query, wait_most_ms),
    )


def page(query: str, collection: str, limits: SystemLimits) -> Page:
    given = parameters(query)
    most = limits.list_greatest
    limit = limits.list_standard
    if "limit" in given:
        limit = _number(given["limit"], "limit", collection)
        if not 0 <= limit <= most:
            raise MalformedQuery(
                "limit",
                f"The value '{given['limit']}' is not in the range of 0 to {most} "
                f"for {collection}.",
            )
    skip = _number(given.get("skip", "0"), "skip", collection)
    if skip < 0:
        raise MalformedQuery(
            "skip",
            f"The value '{skip}' is not greater than or equal to 0 for {collection}.",
        )
    return Page(skip=skip, limit=limit or most, count=flag(query, "count"))


def activation_filter(query: str) -> ActivationFilter:
    """What `GET activations` is narrowed to (A45)."""
    given = parameters(query)
    found = ActivationFilter(
        name=_activation_name(given.get("name", "")),
        since=_instant(given, "since"),
        upto=_instant(given, "upto"),
        docs=flag(query, "docs"),
    )
    if found.docs and flag(query, "count"):
        raise BadRequest("The parameter 'docs' is not permitted with 'count'.")
    return found


def _wait_ms(query: str, most: int) -> int:
    value = parameters(query).get("timeout")
    if value is None:
        return most
    if _WHOLE.fullmatch(value) and 0 < int(value) <= most:
        return int(value)
    raise MalformedQuery(
        "timeout", f"Timeout must be number of milliseconds up to {most}."
    )


def _number(value: str, name: str, collection: str) -> int:
    if _WHOLE.fullmatch(value) and abs(int(value)) <= _INT_MAX:
        return int(value)
    raise MalformedQuery(
        name, f"The value '{value}' is not an integer for {collection}."
    )


def _instant(given: dict[str, str], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if _WHOLE.fullmatch(value):
        return int(value)
    raise MalformedQuery(
        name, f"Parameter is not a valid value for epoch seconds: {value}"
    )


def _activation_name(value: str) -> str | None:
    """`action` or `pkg/action`; empty is no filter."""
    if not value:
        return None
    parts = value.split("/")
    if len(parts) <= 2 and all(map(_is_name, parts)):  # noqa: PLR2004 package, action
        return value
    raise MalformedQuery(
        "name",
        f"Parameter may be a 'simple' name or 'package-name/simple' name: {value}",
    )


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except IllegalName:
        return False
    return True
