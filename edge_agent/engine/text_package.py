"""The catalogue package `/whisk.system/utils`: small actions to build sequences of.

They do what the scripts of OpenWhisk's catalogue do, JavaScript's notions of text and
order included, without a sandbox: a step of a sequence costs microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from edge_agent.engine.builtins import Builtin
from edge_agent.model.errors import BuiltinError
from edge_agent.model.jobs import Identity
from edge_agent.model.names import SYSTEM_NAMESPACE, FullName

PACKAGE = "utils"

Work = Callable[[Identity, dict[str, Any]], Any]


def text_package() -> list[Builtin]:
    return [_builtin(name, *entry) for name, entry in _ACTIONS.items()]


def echo(_: Identity, given: Any) -> Any:
    return given


def cat(_: Identity, given: dict[str, Any]) -> Any:
    lines = _lines(given)
    joined = "\n".join("" if line is None else _text(line) for line in lines)
    return {"lines": lines, "payload": joined}


def date(_: Identity, __: dict[str, Any]) -> Any:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"date": now.replace("+00:00", "Z")}


def head(_: Identity, given: dict[str, Any]) -> Any:
    number = given.get("num") or 1
    try:
        number = int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise BuiltinError("'num' must be a whole number") from error
    return {"lines": _lines(given)[:number], "num": number}


def sort(_: Identity, given: dict[str, Any]) -> Any:
    lines = sorted(_lines(given), key=_order)
    return {"lines": lines, "length": len(lines)}


def split(_: Identity, given: dict[str, Any]) -> Any:
    payload = given.get("payload")
    if payload is None:
        raise BuiltinError("'payload' is missing: the string to split")
    text, separator = _text(payload), given.get("separator")
    if separator:
        lines = text.split(_text(separator))
    else:
        lines = text.replace("\r\n", "\n").split("\n")
    return {"lines": lines, "payload": payload}


def namespace(identity: Identity, _: dict[str, Any]) -> Any:
    return {"namespace": identity.namespace}


def _lines(given: dict[str, Any]) -> list[Any]:
    lines = given.get("lines") or []
    if not isinstance(lines, list):
        raise BuiltinError("'lines' must be an array")
    return lines


def _text(value: Any) -> str:
    """As JavaScript's `String` has it."""
    match value:
        case str():
            return value
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float() if value.is_integer():
            return str(int(value))
        case list():
            return ",".join("" if v is None else _text(v) for v in value)
        case dict():
            return "[object Object]"
        case _:
            return str(value)


def _order(value: Any) -> bytes:
    """JavaScript sorts by the UTF-16 of the text, numbers too."""
    return _text(value).encode("utf-16-be", "surrogatepass")


def _builtin(
    name: str, work: Work, description: str, sample: Any, answer: Any
) -> Builtin:
    async def call(identity: Identity, given: dict[str, Any]) -> Any:
        if not isinstance(given, dict) and work is not echo:
            raise BuiltinError("an object is expected")
        return work(identity, given)

    annotations = {
        "description": description,
        "parameters": [{"name": key} for key in sample],
        "sampleInput": sample,
        "sampleOutput": answer,
    }
    return Builtin(FullName(SYSTEM_NAMESPACE, name, PACKAGE), call, annotations)


_FELINES = {"payload": "Five fuzzy felines"}
_NUMBERS = [4, 2, 3]
_PARTS = {"payload": "one,two", "separator": ","}
_ACTIONS: dict[str, tuple[Work, str, Any, Any]] = {
    "echo": (echo, "Returns the input", _FELINES, _FELINES),
    "cat": (
        cat,
        "Concatenates input into a string",
        {"lines": _NUMBERS},
        {"lines": _NUMBERS, "payload": "4\n2\n3"},
    ),
    "date": (date, "Current date and time", {}, {"date": "2016-03-22T00:59:55.961Z"}),
    "head": (
        head,
        "Extract prefix of an array",
        {"lines": _NUMBERS, "num": 2},
        {"lines": [4, 2], "num": 2},
    ),
    "sort": (
        sort,
        "Sorts an array",
        {"lines": _NUMBERS},
        {"lines": [2, 3, 4], "length": 3},
    ),
    "split": (
        split,
        "Split a string into an array",
        _PARTS,
        {"lines": ["one", "two"], "payload": "one,two"},
    ),
    "namespace": (
        namespace,
        "Returns namespace for the authorization key used to invoke this action",
        {},
        {"namespace": "guest"},
    ),
}
