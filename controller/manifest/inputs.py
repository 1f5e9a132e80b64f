"""Parameters of a manifest: `name: value`, or a mapping that describes one (wskdeploy).

place: Paris                                         the value
count: integer                                       a type: its empty value
port: {type: integer, value: $PORT}                  filled in, then read as JSON
user: {type: string, required: true, default: Ann}
"""

from __future__ import annotations

from typing import Any

import msgspec

from controller.manifest.document import Part

EMPTY_OF: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "int": 0,
    "number": 0.0,
    "float": 0.0,
    "boolean": False,
    "bool": False,
    "object": {},
    "json": {},
    "array": [],
    "list": [],
}
DESCRIBES = ("type", "description", "value", "required", "default", "status", "schema")


def read_inputs(part: Part | None) -> dict[str, Any]:
    """The values by name.

    Raises:
        ManifestError: with the line.
    """
    if part is None:
        return {}
    return {name: _value(one) for name, one in part.named("input").items()}


def _value(part: Part) -> Any:
    if _describes(part):
        return _described(part)
    found = part.value()
    if isinstance(found, str) and found in EMPTY_OF:
        return EMPTY_OF[found]
    return found


def _describes(part: Part) -> bool:
    """Whether a mapping describes a parameter; any other is a value itself."""
    if not part.is_mapping:
        return False
    keys = part.named("input")
    return bool(keys) and keys.keys() <= set(DESCRIBES)


def _described(part: Part) -> Any:
    fields = part.fields(*DESCRIBES)
    kind = fields["type"].text() if "type" in fields else ""
    if kind and kind not in EMPTY_OF:
        fields["type"].fail(f"{part.what}: known types are {', '.join(EMPTY_OF)}")
    given = fields.get("value") or fields.get("default")
    if given is None:
        return EMPTY_OF.get(kind, "")
    found = given.value()
    if kind in {"", "string"} or not isinstance(found, str):
        return found
    try:
        return msgspec.json.decode(found)
    except msgspec.MsgspecError:
        return given.fail(f"{part.what}: '{found}' is no {kind}")
