"""The action that runs pickled functions: this file goes to the nodes as it is.

Its archive has `cloudpickle` beside it and, for `map_reduce`, the functions. Asked with
{"versions": true} it says what Python it is; with {"calls": ...} it makes calls, and
with {"inputs": [...]} it maps them.
"""

from __future__ import annotations

import base64
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

FUNCTIONS = Path(__file__).with_name("functions.pickle")


def main(params: dict[str, Any]) -> dict[str, Any]:
    if "versions" in params:
        return {"python": list(sys.version_info[:2])}
    if "calls" in params:
        return {"calls": [_outcome(*call) for call in _load(params["calls"])]}
    function, combine = pickle.loads(FUNCTIONS.read_bytes())  # noqa: S301 our caller's
    values = [function(_load(text)) for text in params["inputs"]]
    if combine is not None:
        values = [combine(values)]
    return {"values": _dump(values)}


def _outcome(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
) -> str:
    """A value, or an exception and the text of its traceback."""
    try:
        return _dump((function(*args, **kwargs), None, ""))
    except Exception as error:  # noqa: BLE001 whatever it is, the caller is told
        return _dump((None, _portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """The exception itself, if it survives the way."""
    try:
        pickle.loads(cloudpickle.dumps(error))  # noqa: S301 our own
    except Exception:  # noqa: BLE001 a class may do anything when it is pickled
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _dump(value: object) -> str:
    return base64.b64encode(cloudpickle.dumps(value)).decode()


def _load(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301 our caller's
