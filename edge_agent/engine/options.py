"""Annotations of rules and triggers that say how their events are delivered.

    retry    {"max": 5, "backoff_ms": 500, "max_backoff_ms": 60000, "jitter": 0.2,
              "on": ["whisk error", "developer error", "application error", "timeout"]}
    ordered  true: the rule's events one after the other; "body.device": those that
             have the same value there, a dotted path into the arguments
    ttl_ms   how old an event may be when a run of it begins

A rule's own annotation wins over its trigger's, each for itself. They are checked when
rule or trigger is put, and read once for each pair of them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from edge_agent.model.delivery import Options, RetryPolicy
from edge_agent.model.entities import Entity, Rule, Trigger
from edge_agent.model.errors import BadRequest
from edge_agent.model.names import FullName

RETRY, ORDERED, TTL_MS = "retry", "ordered", "ttl_ms"
_PATH = r"^[^.\s]+(\.[^.\s]+)*$"

_TYPES: dict[str, Any] = {
    RETRY: RetryPolicy,
    ORDERED: bool | Annotated[str, Meta(pattern=_PATH, max_length=256)],
    TTL_MS: Annotated[int, Meta(ge=1)],
}
_DEFAULT = Options()
_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


def check_options(entity: Entity) -> None:
    """Raise BadRequest, naming the key, when an annotation cannot be."""
    for key in _TYPES:
        _read(entity, key)


def read_options(rule: Entity, trigger: Entity) -> Options:
    """What holds for the events of `rule`.

    Annotations that cannot be (put before they were checked) say nothing.
    """
    found: dict[str, Any] = {}
    for key in _TYPES:
        for entity in (trigger, rule):
            try:
                value = _read(entity, key)
            except BadRequest:
                continue
            if value is not None:
                found[key] = value
    if not found:
        return _DEFAULT
    ordered = found.get(ORDERED, False)
    order = None if ordered is False else "" if ordered is True else ordered
    return Options(found.get(RETRY), order, found.get(TTL_MS))


def line_of(options: Options, rule: str, arguments: bytes) -> str | None:
    """The line an event waits in, None when it waits in none.

    A path that leads nowhere is a line of its own, as is every value.
    """
    if options.order is None:
        return None
    if not options.order:
        return rule
    value = Raw(arguments)
    for step in options.order.split("."):
        try:
            value = _fields.decode(value)[step]
        except (msgspec.MsgspecError, KeyError):
            return f"{rule} ?"
    # Written anew: the same value is the same line however it was spaced.
    return f"{rule} {_encode(msgspec.json.decode(value)).decode()}"


class OptionsOf:
    """Remembers what was read, as long as rule and trigger stay the same objects."""

    def __init__(self) -> None:
        self._known: dict[FullName, tuple[Rule, Trigger, Options]] = {}

    def __call__(self, rule: Rule, trigger: Trigger) -> Options:
        name = rule.full_name
        known = self._known.get(name)
        if known is None or known[0] is not rule or known[1] is not trigger:
            known = self._known[name] = (rule, trigger, read_options(rule, trigger))
        return known[2]


def _read(entity: Entity, key: str) -> Any:
    value = entity.annotation(key)
    if value is None:
        return None
    try:
        return msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError as error:
        detail, _, place = str(error).partition(" - at `")
        path = place.rstrip("`").removeprefix("$")
        raise BadRequest(f"annotation '{key}{path}' is not valid: {detail}") from error
