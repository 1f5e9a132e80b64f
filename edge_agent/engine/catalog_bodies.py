"""The bodies of PUT, read as leniently as upstream does (A58b, B2-B4, B6-B9).

A field that was not sent, or was sent as null, is None. Unknown fields are ignored.
What has the wrong form is MalformedContent with upstream's text; whether the values may
be is for the decisions in catalog_actions and its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from edge_agent.model.entities import Binding, KeyValue, Reference
from edge_agent.model.errors import IllegalName, MalformedContent
from edge_agent.model.names import (
    OWN_NAMESPACE,
    FullName,
    check_name,
    check_namespace,
)

_NOT_QUALIFIED = (
    "requirement failed: The fully qualified name of the entity must contain at least "
    "the namespace and the name of the entity."
)
_VERSION_PARTS = 3

Json = dict[str, Any]
T = TypeVar("T")


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """What the bodies of all collections may have."""

    annotations: list[KeyValue] | None
    version: str | None
    publish: bool | None


class ExecPut(msgspec.Struct, frozen=True, kw_only=True):
    """`exec` as sent; `kind` is lower-cased, everything else unchecked."""

    kind: str
    fields: Json


class LimitsPut(msgspec.Struct, frozen=True, kw_only=True):
    timeout: int | None = None
    memory: int | None = None
    logs: int | None = None
    concurrency: int | None = None
    instances: int | None = None


class ActionPut(Put, frozen=True, kw_only=True):
    exec: ExecPut | None
    parameters: list[KeyValue] | None
    limits: LimitsPut | None
    del_annotations: list[str]


class TriggerPut(Put, frozen=True, kw_only=True):
    parameters: list[KeyValue] | None


class PackagePut(Put, frozen=True, kw_only=True):
    parameters: list[KeyValue] | None
    binding: Binding | None


class RulePut(Put, frozen=True, kw_only=True):
    trigger: FullName | None
    action: FullName | None


def read_action(body: bytes) -> ActionPut:
    fields = _object(body, first="exec")
    return ActionPut(
        exec=_optional(fields, "exec", _exec),
        parameters=_optional(fields, "parameters", _key_values),
        limits=_optional(fields, "limits", _limits),
        del_annotations=_optional(fields, "delAnnotations", _strings) or [],
        **_common(fields),
    )


def read_trigger(body: bytes) -> TriggerPut:
    fields = _object(body, first="parameters")
    parameters = _optional(fields, "parameters", _key_values)
    return TriggerPut(parameters=parameters, **_common(fields))


def read_package(body: bytes, *, own: str) -> PackagePut:
    """`own` is what `_` means in the name of what is bound to."""
    fields = _object(body, first="binding")

    def binding(value: Any) -> Binding | None:
        return _binding(value, own=own)

    return PackagePut(
        binding=_optional(fields, "binding", binding),
        parameters=_optional(fields, "parameters", _key_values),
        **_common(fields),
    )


def read_rule(body: bytes, *, own: str) -> RulePut:
    """`own` is what `_` means in the names of trigger and action."""
    fields = _object(body, first="trigger")

    def name(value: Any) -> FullName:
        return full_name(value, own=own)

    return RulePut(
        trigger=_optional(fields, "trigger", name),
        action=_optional(fields, "action", name),
        **_common(fields),
    )


def read_status(body: bytes) -> bool:
    """Whether a rule is to be active (A39)."""
    fields = _object(body, first="status")
    if "status" not in fields:
        raise MalformedContent("key not found: status")
    status = fields["status"]
    if status not in ("active", "inactive"):
        raise MalformedContent(
            f"requirement failed: {status} is not a recognized rule state"
        )
    return bool(status == "active")


def read_json(body: bytes) -> Any:
    if not body.strip():
        raise MalformedContent("Unexpected end-of-input at input index 0")
    try:
        return msgspec.json.decode(body)
    except RecursionError as error:
        raise MalformedContent("JSON input nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedContent(str(error)) from error


def _object(body: bytes, *, first: str) -> Json:
    value = read_json(body)
    if not isinstance(value, dict):
        raise MalformedContent(f"Object expected in field '{first}'")
    return value


def _optional(fields: Json, key: str, read: Callable[[Any], T]) -> T | None:
    value = fields.get(key)
    return None if value is None else read(value)


def _common(fields: Json) -> Any:
    return {
        "version": _optional(fields, "version", _version),
        "publish": _optional(fields, "publish", _boolean),
        "annotations": _optional(fields, "annotations", _key_values),
    }


def _as_object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise MalformedContent("JSON object expected")
    return value


def _binding(value: Any, *, own: str) -> Binding | None:
    """None for an empty object: that is how a package is shown."""
    match _as_object(value):
        case fields if not fields:
            return None
        case {"namespace": str(namespace), "name": str(name)}:
            pass
        case _:
            raise MalformedContent("a binding must have a namespace and a name")
    try:
        namespace = own if namespace == OWN_NAMESPACE else check_namespace(namespace)
        return Binding(namespace=namespace, name=check_name(name))
    except IllegalName as error:
        raise MalformedContent(str(error)) from error


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MalformedContent(f"Expected JsBoolean, but got {value!r}")
    return value


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise MalformedContent("Expected an array of strings")
    return value


def _version(value: Any) -> str:
    """`1`, `1.2` and `1.2.3` are versions; what is missing is 0."""
    parts = value.split(".") if isinstance(value, str) else []
    numbers = all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts)  # noqa: PLR2004 an Int upstream
    if not 1 <= len(parts) <= _VERSION_PARTS or not numbers:
        raise MalformedContent("semantic version malformed")
    padded = [*(int(p) for p in parts), 0, 0][:_VERSION_PARTS]
    if not any(padded):
        raise MalformedContent("semantic version malformed")
    return ".".join(str(p) for p in padded)


def _key_values(value: Any) -> list[KeyValue]:
    """An array of key and value; of equal keys the last wins (B3)."""
    if not isinstance(value, list):
        raise MalformedContent("parameters malformed!")
    by_key = {entry.key: entry for entry in map(_key_value, value)}
    return list(by_key.values())


def _key_value(value: Any) -> KeyValue:
    match value:
        case {"key": str(key), "value": content, "init": bool(init)}:
            return KeyValue(key=key, value=content, init=init or msgspec.UNSET)
        case {"init": _}:
            raise MalformedContent("parameters malformed!")
        case {"key": str(key), "value": content}:
            return KeyValue(key=key, value=content)
        case _:
            raise MalformedContent("parameters malformed!")


def _exec(value: Any) -> ExecPut:
    fields = _as_object(value)
    kind = fields.get("kind")
    if not isinstance(kind, str):
        raise MalformedContent("'kind' must be a string defined in 'exec'")
    return ExecPut(kind=kind.strip().lower(), fields=fields)


def _limits(value: Any) -> LimitsPut:
    if not isinstance(value, dict):
        raise MalformedContent("Object expected in field 'timeout'")
    return LimitsPut(
        timeout=_limit(value, "timeout", "time"),
        memory=_size(_limit(value, "memory", "memory")),
        logs=_size(_limit(value, "logs", "log")),
        concurrency=_limit(value, "concurrency", "concurrency"),
        instances=_limit(value, "instances", "instance"),
    )


def _limit(fields: Json, key: str, word: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedContent(f"{word} limit malformed")
    if value != int(value):
        raise MalformedContent(f"requirement failed: {word} limit must be whole number")
    return int(value)


def _size(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise MalformedContent(
            "requirement failed: a negative size of an object is not allowed."
        )
    return value


def full_name(value: Any, *, own: str) -> FullName:
    """`/ns/[pkg/]name`, `ns/[pkg/]name` or `{"path", "name"}` (B25)."""
    match value:
        case {"path": str(path), "name": str(name)}:
            value = f"{path}/{name}"
        case str():
            pass
        case _:
            raise MalformedContent("fully qualified name malformed")
    if "/" not in value.removeprefix("/"):
        raise MalformedContent(_NOT_QUALIFIED)
    try:
        return FullName.parse(value, own=own)
    except IllegalName as error:
        raise MalformedContent("fully qualified name malformed") from error


def reference(name: FullName) -> Reference:
    return Reference(path=name.path, name=name.name)
