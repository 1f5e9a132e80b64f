"""`--set key=value`: settings of a job, typed by their defaults in its config.

Integers take `1e8`; booleans `true` and `false`; lists, dicts and null take JSON;
`limits.memory=256` reaches into a dict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class OptionError(ValueError):
    """The text says which option and what it takes."""


def overridden(config: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The entries of `config` that `given` changes, whole and typed.

    Raises:
        OptionError: an unknown key, or a value of another type.
    """
    changed: dict[str, Any] = {}
    for name, text in given.items():
        top, dot, rest = name.partition(".")
        if top not in config:
            raise OptionError(_unknown(name, config))
        if not dot:
            changed[top] = typed(name, text, config[top])
            continue
        inner = changed.get(top, config[top])
        if not isinstance(inner, dict) or rest not in inner:
            raise OptionError(_unknown(name, config))
        changed[top] = {**inner, rest: typed(name, text, inner[rest])}
    return changed


def typed(name: str, text: str, default: Any) -> Any:
    """`text` as a value of the type of `default`."""
    match default:
        case bool():
            return _boolean(name, text)
        case int():
            return _integer(name, text)
        case float():
            return _number(name, text)
        case str():
            return text
        case _:
            return _json(name, text)


def _boolean(name: str, text: str) -> bool:
    values = {"true": True, "yes": True, "1": True}
    values |= {"false": False, "no": False, "0": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise OptionError(f"'{name}' is true or false, not '{text}'") from None


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    number = _number(name, text)
    if not number.is_integer():
        raise OptionError(f"'{name}' is a whole number, not '{text}'")
    return int(number)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise OptionError(f"'{name}' is a number, not '{text}'") from None
    if number != number or number in {float("inf"), float("-inf")}:  # noqa: PLR0124 NaN
        raise OptionError(f"'{name}' is a finite number, not '{text}'")
    return number


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise OptionError(f"'{name}' is JSON, not '{text}'") from None


def _unknown(name: str, config: Mapping[str, Any]) -> str:
    known = ", ".join(sorted(config)) or "none"
    return f"there is no setting '{name}'; the job has: {known}"
