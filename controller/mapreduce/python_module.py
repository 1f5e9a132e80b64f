"""A user's Python file, run here, and what it defines."""

from __future__ import annotations

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from controller.mapreduce.errors import JobError
from controller.mapreduce.inputs import Inputs, read_inputs

#: What a user's program may raise; Ctrl-C is ours.
ANYTHING = (Exception, SystemExit)


@dataclass(frozen=True, slots=True)
class Module:
    """Each method raises JobError for what is not as it should be."""

    path: Path
    source: str
    content: ModuleType

    def has(self, name: str) -> bool:
        return hasattr(self.content, name)

    def config(self) -> dict[str, Any]:
        config = getattr(self.content, "config", {})
        if not isinstance(config, dict):
            raise JobError(self.path, "'config' is a dict")
        return config

    def inputs(self) -> Inputs | None:
        """Of `inputs`: an iterable, a function that gives one, or a file's name.

        The name may be a setting (`config["inputs"]`).
        """
        given = getattr(self.content, "inputs", None)
        if given is None:
            given = self.config().get("inputs")
        if given is None:
            return None
        if callable(given):
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    given = given()
            except ANYTHING as error:
                user_error(self.path, error, "inputs()")
        return read_inputs(self.path, given)

    def mains(self) -> dict[str, str]:
        """The functions that are actions, by the job's names for them."""
        named = getattr(self.content, "actions", None)
        if named is None:
            self.function("action")
            return {"": "action"}
        if not isinstance(named, dict) or not named:
            raise JobError(self.path, "'actions' is a dict of functions by name")
        if not self.has("action_for"):
            raise JobError(self.path, "has 'actions' but no function 'action_for'")
        for name, function in named.items():
            if getattr(self.content, getattr(function, "__name__", ""), 0) != function:
                text = f"'actions': {name!r} is no function of this file"
                raise JobError(self.path, text)
        return {str(name): function.__name__ for name, function in named.items()}

    def function_if_there(self, name: str) -> Callable[..., Any] | None:
        return self.function(name) if self.has(name) else None

    def function(self, name: str) -> Callable[..., Any]:
        function = getattr(self.content, name, None)
        if function is None:
            raise JobError(self.path, f"has no function '{name}'")
        if not callable(function):
            raise JobError(self.path, f"'{name}' is not a function")
        try:
            inspect.signature(function).bind(0)
        except TypeError:
            line = getattr(getattr(function, "__code__", None), "co_firstlineno", None)
            reason = f"'{name}' must take 1 argument"
            raise JobError(self.path, reason, line=line) from None
        except ValueError:  # a built-in without a signature
            pass
        result: Callable[..., Any] = function
        return result


def load_module(path: Path) -> Module:
    """Run the file.

    Raises:
        JobError: it cannot be read, or fails.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(path, f"cannot be read: {error}") from error
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
    except ANYTHING as error:
        user_error(path, error, None)
    return Module(path, source, module)


def user_error(path: Path, error: BaseException, what: str | None) -> NoReturn:
    prefix = f"{what} failed: " if what else ""
    reason = f"{prefix}{type(error).__name__}: {error}"
    raise JobError(path, reason, line=line_of(path, error)) from error


def line_of(path: Path, error: BaseException) -> int | None:
    """The deepest line of the job file on the way to the error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None
