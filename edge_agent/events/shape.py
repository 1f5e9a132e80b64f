"""What a subscription makes of a message: names, filter, projection, key. Pure.

The parameters of a subscription that are read here:

    topic       a level in braces is a `+` with a name: `sensors/{room}/temp` adds
                `"room": "kitchen"` to the payload's keys
    filter      a JMESPath expression; messages for which it is false, null or empty are
                acknowledged, counted as `filtered` and left out
    projection  a JMESPath expression whose value takes the place of `payload`
    dedup       {key, window_ms}: messages whose key (a JMESPath expression) was kept
                within the window are acknowledged, counted and not run

Expressions see what the trigger would be fired with (`payloads`): `payload.c > `20``,
`room == 'kitchen'`. They are compiled once; one that fails on a message counts it as
malformed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from edge_agent.events.base import ConfigError
from edge_agent.events.packets import Message
from edge_agent.events.payloads import (
    FIELDS,
    Encoding,
    object_payload,
    trigger_payload,
)
from edge_agent.events.topics import ONE_LEVEL, SHARED, TopicError, TopicFilter

LONGEST_EXPRESSION = 1024
#: A longer key is kept as its hash.
LONGEST_KEY = 128
LONGEST_WINDOW_MS = 7 * 86_400_000
#: Topics whose names are remembered as JSON; sensors use the same ones over and over.
CACHE_MOST = 4096
RESERVED = (*FIELDS, "messages")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Left(StrEnum):
    """Why a message was acknowledged and not fired."""

    MALFORMED = "malformed"
    FILTERED = "filtered"
    RETAINED = "retained"
    THROTTLED = "throttled"
    DEBOUNCED = "debounced"


@dataclass(frozen=True, slots=True)
class Read:
    """`payload` is JSON text; `dedup` the key and its window in ms, if there is one."""

    payload: bytes
    dedup: tuple[str, int] | None = None


class Expression:
    """A compiled JMESPath expression; equal texts are equal."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: Any, *, key: str) -> None:
        """Compile.

        Raises:
            ConfigError: naming `key` and what is wrong with the text.
        """
        import jmespath  # noqa: PLC0415 a node without expressions does not pay for it

        if not isinstance(text, str) or not text:
            raise ConfigError(key, f"expected a JMESPath expression, got {text!r}")
        if len(text) > LONGEST_EXPRESSION:
            raise ConfigError(key, f"may have {LONGEST_EXPRESSION} characters")
        try:
            self._compiled = jmespath.compile(text)
        except (ValueError, RecursionError) as error:
            first = str(error).partition("\n")[0]
            raise ConfigError(key, f"{text!r}: {first}") from error
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def of(self, document: Any) -> Any:
        """Its value.

        Raises:
            ValueError: it does not fit the document.
        """
        try:
            return self._compiled.search(document)
        except (TypeError, ArithmeticError, RecursionError) as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True)
class Shape:
    """One subscription's; `names` are the places of named levels."""

    encoding: Encoding = Encoding.AUTO
    names: tuple[tuple[int, str], ...] = ()
    filter: Expression | None = None
    projection: Expression | None = None
    dedup: tuple[Expression, int] | None = None
    #: The message's own object is what is fired, with nothing around it.
    bare: bool = False

    @cached_property
    def _looks_inside(self) -> bool:
        return any((self.filter, self.projection, self.dedup))

    @cached_property
    def _named(self) -> dict[str, bytes]:
        return {}

    def read(self, message: Message, *, received_ms: int) -> Read | Left:
        payload = self._payload(message, received_ms)
        if payload is None:
            return Left.MALFORMED
        if not self._looks_inside:
            return Read(payload)
        try:
            return self._look_inside(payload)
        except (ValueError, TypeError, RecursionError):  # what cannot be JSON again too
            return Left.MALFORMED

    def _payload(self, message: Message, received_ms: int) -> bytes | None:
        if self.bare:
            return object_payload(message.payload)
        payload = trigger_payload(message, self.encoding, received_ms=received_ms)
        if payload is not None and self.names:
            return self._names_of(message.topic) + payload[1:]
        return payload

    def _names_of(self, topic: str) -> bytes:
        """`{"room":"kitchen",`, to stand before the rest."""
        text = self._named.get(topic)
        if text is None:
            levels = topic.split("/")
            found = {name: levels[place] for place, name in self.names}
            if len(self._named) >= CACHE_MOST:
                self._named.clear()
            text = self._named[topic] = _encode(found)[:-1] + b","
        return text

    def _look_inside(self, payload: bytes) -> Read | Left:
        document = _decode(payload)
        if self.filter is not None and _is_false(self.filter.of(document)):
            return Left.FILTERED
        key = self._key(document)
        if self.projection is not None:
            # A new one: its value may be the whole document.
            payload = _encode({**document, "payload": self.projection.of(document)})
        return Read(payload, key)

    def _key(self, document: Any) -> tuple[str, int] | None:
        if self.dedup is None:
            return None
        expression, window_ms = self.dedup
        value = expression.of(document)
        if value is None:  # a message without a key is itself alone
            return None
        text = value if isinstance(value, str) else _encode(value).decode()
        if len(text) > LONGEST_KEY:
            text = hashlib.sha256(text.encode()).hexdigest()
        return text, window_ms

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"payload": str(self.encoding)}
        if self.filter is not None:
            shown["filter"] = self.filter.text
        if self.projection is not None:
            shown["projection"] = self.projection.text
        if self.dedup is not None:
            shown["dedup"] = {"key": self.dedup[0].text, "window_ms": self.dedup[1]}
        return shown


#: The message's own object is what is fired.
BARE = Shape(Encoding.JSON, bare=True)


def _is_false(value: Any) -> bool:
    """JMESPath's own idea of it: zero is true."""
    return value is None or value is False or value in ("", [], {})


def parse_shape(
    given: Mapping[str, Any], names: tuple[tuple[int, str], ...] = ()
) -> Shape:
    """Read `payload`, `filter`, `projection` and `dedup`.

    Raises:
        ConfigError: naming the key.
    """
    return Shape(
        _encoding(given.get("payload", Encoding.AUTO)),
        names,
        filter=_expression(given, "filter"),
        projection=_expression(given, "projection"),
        dedup=_dedup(given.get("dedup")),
    )


def parse_named_topic(text: Any) -> tuple[TopicFilter, tuple[tuple[int, str], ...]]:
    """`sensors/{room}/temp` is the filter `sensors/+/temp` and the name of level 1.

    Raises:
        BuiltinError: it is no filter, or a name cannot be used.
    """
    if not isinstance(text, str) or "{" not in text:
        return TopicFilter(text), ()
    shared = text.startswith(f"{SHARED}/")
    levels = text.split("/")
    start = 2 if shared else 0
    names: list[tuple[int, str]] = []
    for place, level in enumerate(levels[start:]):
        if level.startswith("{") and level.endswith("}"):
            names.append((place, _checked_name(text, level[1:-1], names)))
            levels[place + start] = ONE_LEVEL
    return TopicFilter("/".join(levels)), tuple(names)


def _checked_name(text: str, name: str, names: list[tuple[int, str]]) -> str:
    if not _NAME.fullmatch(name):
        raise TopicError("topic", text, f"{name!r} is no name: letters, digits and _")
    if name in RESERVED:
        raise TopicError("topic", text, f"{name!r} has a meaning already, take another")
    if name in (other for _, other in names):
        raise TopicError("topic", text, f"{name!r} is there twice")
    return name


def _expression(given: Mapping[str, Any], key: str) -> Expression | None:
    value = given.get(key)
    return None if value is None else Expression(value, key=key)


def _encoding(value: Any) -> Encoding:
    try:
        return Encoding(value)
    except ValueError as error:
        known = ", ".join(Encoding)
        problem = f"expected one of {known}; got {value!r}"
        raise ConfigError("payload", problem) from error


def _dedup(given: Any) -> tuple[Expression, int] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) - {"key", "window_ms"}:
        raise ConfigError("dedup", f"expected {{key, window_ms}}, got {given!r}")
    window_ms = given.get("window_ms")
    if type(window_ms) is not int or not 0 < window_ms <= LONGEST_WINDOW_MS:
        problem = f"expected 1 to {LONGEST_WINDOW_MS}, got {window_ms!r}"
        raise ConfigError("dedup.window_ms", problem)
    return Expression(given.get("key"), key="dedup.key"), window_ms
