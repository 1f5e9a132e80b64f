"""What a fired trigger becomes: one record, and one activation per active rule.

Pure: values in, values out. The engine writes them down in one transaction (promise 1
of the design) and only then tells anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.engine.options import line_of
from edge_agent.model.activations import ActivationRecord, success
from edge_agent.model.delivery import Options
from edge_agent.model.entities import Rule, Trigger
from edge_agent.model.errors import RequestError
from edge_agent.model.feeds import Reply
from edge_agent.model.jobs import Identity
from edge_agent.model.names import new_activation_id
from edge_agent.store.inbox import Accepted

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw])

RESULT_TOPIC = "mqtt-result-topic"

Prepare = Callable[[Rule, bytes], tuple[str, bytes]]


class Fired(msgspec.Struct, frozen=True):
    """A fire, ready to be written: the trigger's record and what its rules start."""

    record: ActivationRecord
    accepted: list[Accepted]


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One firing: who fired what, with which payload (JSON text of an object)."""

    identity: Identity
    trigger: Trigger
    payload: bytes
    headers: Mapping[str, str]
    transaction_id: str
    now_ms: int
    reply: Reply | None = None


def fire_trigger(
    fire: Fire,
    rules: list[Rule],
    prepare: Prepare,
    options_of: Callable[[Rule, Trigger], Options],
) -> Fired:
    """Make the record and the accepted activations.

    Args:
        fire: what was fired.
        rules: the trigger's rules, of which at least one is active.
        prepare: gives the version of a rule's action and the arguments it will run
            with; raises RequestError when it cannot be invoked.
        options_of: how the events of a rule are delivered.
    """
    arguments = _arguments(fire)
    accepted: list[Accepted] = []
    logs: list[str] = []
    for rule in rules:
        entry, one = _activate(fire, rule, arguments, prepare, options_of)
        logs.append(_encode(entry).decode())
        if one is not None:
            accepted.append(one)
    return Fired(_record(fire, logs), accepted)


def _arguments(fire: Fire) -> bytes:
    """Trigger parameters, then the headers of the request, then the payload (B53)."""
    given: dict[str, Any] = {p.key: p.value for p in fire.trigger.parameters}
    if fire.headers:
        given["__ow_headers"] = fire.headers
    if not given:
        return fire.payload
    return _encode({**given, **_fields.decode(fire.payload)})


def _activate(
    fire: Fire,
    rule: Rule,
    arguments: bytes,
    prepare: Prepare,
    options_of: Callable[[Rule, Trigger], Options],
) -> tuple[dict[str, Any], Accepted | None]:
    """The log entry of one rule (A86, A87) and what it starts."""
    name, action = str(rule.full_name), str(rule.action.full_name)
    if not rule.active:
        text = f"Rule '{name}' is inactive, action '{action}' was not activated."
        return _refused(name, action, text), None
    try:
        version, merged = prepare(rule, arguments)
    except RequestError as error:
        return _refused(name, action, str(error)), None
    options = options_of(rule, fire.trigger)
    one = Accepted(
        activation_id=new_activation_id(),
        namespace=fire.identity.namespace,
        action=action,
        version=version,
        arguments=Raw(merged),
        accepted_ms=fire.now_ms,
        transaction_id=fire.transaction_id,
        rule=name,
        result_topic=rule.annotation(RESULT_TOPIC),
        reply=fire.reply,
        retry=options.retry,
        line=line_of(options, name, merged),
        ttl_ms=options.ttl_ms,
    )
    entry = {
        "statusCode": 0,
        "success": True,
        "activationId": one.activation_id,
        "rule": name,
        "action": action,
    }
    return entry, one


def _refused(rule: str, action: str, error: str) -> dict[str, Any]:
    return {
        "statusCode": 1,
        "success": False,
        "rule": rule,
        "error": error,
        "action": action,
    }


def _record(fire: Fire, logs: list[str]) -> ActivationRecord:
    """B52: no end, no duration, no annotations; the result is the payload as sent."""
    trigger = fire.trigger
    return ActivationRecord(
        namespace=fire.identity.namespace,
        name=trigger.name,
        version=trigger.version,
        subject=fire.identity.subject,
        activation_id=new_activation_id(),
        start=fire.now_ms,
        response=success(fire.payload),
        logs=logs,
    )
