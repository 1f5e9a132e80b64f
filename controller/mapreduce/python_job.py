"""Job files in Python.

The file is run here (for `config`, `args_for_action` and `reduce`) and sent whole to
the nodes, where `action` is its entry: so the map has its imports, helpers, constants.
Settings that `--set` changed are appended as one line, so `config` is the same on
both sides; what a job computes from `config` it computes in its functions.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import msgspec
from msgspec import Raw

from controller.mapreduce.errors import JobError, ReduceFailed
from controller.mapreduce.job import (
    Job,
    MapAction,
    Reduced,
    checked_chunks,
    checked_items,
    checked_limits,
)
from controller.mapreduce.options import OptionError, overridden

KIND = "python:default"
#: What a user's program may raise; Ctrl-C is ours.
_ANYTHING = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class PythonJob:
    path: Path
    name: str
    chunks: int
    items: str | None
    action: MapAction
    args_for_action: Callable[[int], Any]
    reducer: Callable[[list[Any]], Any]

    def arguments(self, chunk: int) -> bytes:
        what = f"args_for_action({chunk})"
        try:
            with contextlib.redirect_stdout(sys.stderr):
                arguments = self.args_for_action(chunk)
        except _ANYTHING as error:
            _user_error(self.path, error, what)
        if not isinstance(arguments, dict):
            kind = type(arguments).__name__
            raise JobError(self.path, f"{what} gave {kind}, not a dict")
        try:
            return msgspec.json.encode(arguments)
        except (TypeError, ValueError) as error:
            raise JobError(self.path, f"{what} is not JSON: {error}") from error

    def reduce(self, results: Sequence[Raw]) -> Reduced:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                value = self.reducer([msgspec.json.decode(r) for r in results])
            msgspec.json.encode(value)
        except _ANYTHING as error:
            line = _line(self.path, error)
            reason = f"{type(error).__name__}: {error}"
            raise ReduceFailed(self.path, reason, line=line) from error
        text = printed.getvalue()
        return Reduced(text if value is None and text else value, text)


def load(path: Path, settings: Mapping[str, str]) -> Job:
    source = _source(path)
    module = _module(path, source)
    config = getattr(module, "config", {})
    if not isinstance(config, dict):
        raise JobError(path, "'config' is a dict")
    try:
        changed = overridden(config, settings)
    except OptionError as error:
        raise JobError(path, str(error)) from error
    config.update(changed)
    if "chunks" not in config:
        raise JobError(path, "config has no 'chunks'")
    _function(path, module, "action", takes=1)
    job = PythonJob(
        path=path,
        name=path.stem,
        chunks=checked_chunks(path, "chunks", config["chunks"]),
        items=checked_items(path, config.get("items")),
        action=MapAction(
            kind=str(config.get("kind", KIND)),
            code=_with_settings(source, changed),
            main="action",
            limits=checked_limits(path, "limits", config.get("limits", {})),
        ),
        args_for_action=_arguments(path, module),
        reducer=_function(path, module, "reduce", takes=1),
    )
    job.arguments(0)
    return job


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(path, f"cannot be read: {error}") from error


def _module(path: Path, source: str) -> ModuleType:
    # Registered, because dataclasses and pickle look their module up.
    name = f"edgewhisk_job_{path.stem}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        # Our stdout is the answer; what the job says meanwhile is talk.
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 a program
    except SyntaxError as error:
        reason = f"syntax error: {error.msg}"
        raise JobError(path, reason, line=error.lineno) from error
    except _ANYTHING as error:
        _user_error(path, error, None)
    return module


def _user_error(path: Path, error: BaseException, what: str | None) -> NoReturn:
    prefix = f"{what} failed: " if what else ""
    reason = f"{prefix}{type(error).__name__}: {error}"
    raise JobError(path, reason, line=_line(path, error)) from error


def _line(path: Path, error: BaseException) -> int | None:
    """The deepest line of the job file on the way to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None


def _arguments(path: Path, module: ModuleType) -> Callable[[int], Any]:
    if hasattr(module, "args_for_action"):
        return _function(path, module, "args_for_action", takes=1)
    return lambda chunk: {"index": chunk}


def _function(
    path: Path, module: ModuleType, name: str, *, takes: int
) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if function is None:
        raise JobError(path, f"has no function '{name}'")
    if not callable(function):
        raise JobError(path, f"'{name}' is not a function")
    try:
        inspect.signature(function).bind(*range(takes))
    except TypeError:
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", None)
        reason = f"'{name}' must take {takes} argument"
        raise JobError(path, reason, line=line) from None
    except ValueError:  # a built-in without a signature
        pass
    result: Callable[..., Any] = function
    return result


def _with_settings(source: str, changed: Mapping[str, Any]) -> str:
    if not changed:
        return source
    return f"{source}\n\nconfig.update({dict(changed)!r})\n"
