"""Parameters on the command line: `-p KEY VALUE`, as wsk has it, or `-p KEY=VALUE`.

Typer knows no option that takes two values and may be repeated, so `join` makes one
of two before Typer looks. A value that is JSON is taken as JSON, any other as a string.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.cli.errors import InputError
from edge_agent.model.entities import KeyValue

PAIR_OPTIONS = frozenset({"-p", "--param", "-a", "--annotation"})


def join(arguments: Sequence[str]) -> list[str]:
    """`-p KEY VALUE` -> `-p KEY=VALUE`; what is joined already stays."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        joined.append(argument)
        if argument == "--":
            return [*joined, *rest]
        if argument in PAIR_OPTIONS:
            joined += _pair(rest)
    return joined


def _pair(rest: Iterable[str]) -> list[str]:
    taken = iter(rest)
    key = next(taken, None)
    if key is None or "=" in key:
        return [] if key is None else [key]
    value = next(taken, None)
    return [key] if value is None else [f"{key}={value}"]


def parse(pairs: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` each.

    Raises:
        InputError: one has no value or no key.
    """
    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InputError(f"-p and -a take a key and a value: '{pair}' is only one")
        found[key] = value_of(text)
    return found


def value_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def parameters(file: Path | None, pairs: Iterable[str]) -> dict[str, Any]:
    """The object in `file` (`-` is stdin), overlaid by `pairs`.

    Raises:
        InputError: the file cannot be read or holds no JSON object.
    """
    return {**_from_file(file), **parse(pairs)}


def key_values(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return msgspec.json.decode(text, type=dict[str, Any])
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a JSON object: {error}") from error
