"""Job files in Python.

The file is run here (for `config`, `args_for_action` and `reduce`) and sent whole to
the nodes, where `action` is its entry: so the map has its imports, helpers, constants.
Settings that `--set` changed are appended as one line, so `config` is the same on
both sides; what a job computes from `config` it computes in its functions.

Besides the four: `inputs` in place of chunks, `combine`, and `actions` by name with
`action_for(index)`, which says whose turn it is.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from controller.mapreduce.archive import archive
from controller.mapreduce.errors import JobError, ReduceFailed
from controller.mapreduce.inputs import Inputs
from controller.mapreduce.job import Invocation, Job, MapAction, Reduced
from controller.mapreduce.job_config import (
    checked_chunks,
    checked_items,
    checked_limits,
    checked_requirements,
    checked_retries,
    digest_of,
)
from controller.mapreduce.options import OptionError, overridden
from controller.mapreduce.python_module import (
    ANYTHING,
    Module,
    line_of,
    load_module,
    user_error,
)
from controller.mapreduce.results import plain

KIND = "python:default"
#: What a chunk of several is handed to: it runs them and sends one result.
GROUP = """

def edgewhisk_group(params):
    return combine([action(each) for each in params["chunks"]])
"""


@dataclass(frozen=True, slots=True)
class PythonJob:
    path: Path
    name: str
    units: int
    grouped: bool
    items: str | None
    retry_errors: int
    actions: Mapping[str, MapAction]
    digest: str
    inputs: Inputs | None
    args_for_action: Callable[[Any], Any] | None
    action_for: Callable[[int], Any] | None
    reducer: Callable[[Sequence[Any]], Any]

    @property
    def by_inputs(self) -> bool:
        return self.inputs is not None

    def invocation(self, first: int, count: int) -> Invocation:
        if self.inputs is not None:
            return Invocation("", self._with_inputs(self.inputs, first, count))
        if self.grouped:
            chunks = [self._arguments(first + n) for n in range(count)]
            return Invocation("", b'{"chunks":[%b]}' % b",".join(chunks))
        return Invocation(self._action_name(first), self._arguments(first))

    def fits(self, first: int, count: int) -> int:
        return count if self.inputs is None else self.inputs.fits(first, count)

    def _with_inputs(self, inputs: Inputs, first: int, count: int) -> bytes:
        text = inputs.text(first, count)
        if self.args_for_action is None:
            return b'{"inputs":%b}' % text
        given = msgspec.json.decode(text)
        return self._called(self.args_for_action, given, f"inputs from {first}")

    def _arguments(self, chunk: int) -> bytes:
        if self.args_for_action is None:
            return b'{"index":%d}' % chunk
        return self._called(self.args_for_action, chunk, str(chunk))

    def _called(self, function: Callable[[Any], Any], given: Any, what: str) -> bytes:
        arguments = self._ask(function, given, f"args_for_action({what})")
        if not isinstance(arguments, dict):
            kind = type(arguments).__name__
            text = f"args_for_action({what}) gave {kind}, not a dict"
            raise JobError(self.path, text)
        try:
            return msgspec.json.encode(arguments)
        except (TypeError, ValueError) as error:
            text = f"args_for_action({what}) is not JSON: {error}"
            raise JobError(self.path, text) from error

    def _action_name(self, chunk: int) -> str:
        if self.action_for is None:
            return ""
        name = self._ask(self.action_for, chunk, f"action_for({chunk})")
        if name not in self.actions:
            known = ", ".join(self.actions)
            text = f"action_for({chunk}) gave {name!r}; there are: {known}"
            raise JobError(self.path, text)
        return str(name)

    def _ask(self, function: Callable[[Any], Any], given: Any, what: str) -> Any:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return function(given)
        except ANYTHING as error:
            user_error(self.path, error, what)

    def reduce(self, results: Sequence[Any]) -> Reduced:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                value = plain(self.reducer(results))
        except ANYTHING as error:
            reason = f"{type(error).__name__}: {error}"
            line = line_of(self.path, error)
            raise ReduceFailed(self.path, reason, line=line) from error
        text = printed.getvalue()
        return Reduced(text if value is None and text else value, text)


def load(path: Path, settings: Mapping[str, str]) -> Job:
    module = load_module(path)
    config = module.config()
    try:
        changed = overridden(config, settings)
    except OptionError as error:
        raise JobError(path, str(error)) from error
    config.update(changed)
    inputs = module.inputs()
    if inputs is None and "chunks" not in config:
        raise JobError(path, "config has no 'chunks'")
    grouped = inputs is not None or module.has("combine")
    units = (
        checked_chunks(path, "chunks", config["chunks"])
        if inputs is None
        else len(inputs)
    )
    job = PythonJob(
        path=path,
        name=path.stem,
        units=units,
        grouped=grouped,
        items=checked_items(path, config.get("items")),
        retry_errors=checked_retries(
            path, "retry_errors", config.get("retry_errors", 0)
        ),
        actions=_actions(module, config, changed),
        digest=digest_of(changed, units, inputs.digest if inputs else ""),
        inputs=inputs,
        args_for_action=module.function_if_there("args_for_action"),
        action_for=module.function_if_there("action_for"),
        reducer=module.function("reduce"),
    )
    job.invocation(0, 1)
    return job


def _actions(
    module: Module, config: Mapping[str, Any], changed: Mapping[str, Any]
) -> dict[str, MapAction]:
    source = module.source
    if changed:
        source += f"\n\nconfig.update({dict(changed)!r})\n"
    mains = module.mains()
    if module.has("combine"):
        if len(mains) > 1 or module.has("inputs"):
            raise JobError(module.path, "'combine' goes with one action and 'chunks'")
        module.function("combine")
        source, mains = source + GROUP, {"": "edgewhisk_group"}
    needed = checked_requirements(module.path, config.get("requirements", []))
    code = source
    if needed:
        code = archive({"__main__.py": source.encode()}, requirements=needed)
    limits = checked_limits(module.path, "limits", config.get("limits", {}))
    kind = str(config.get("kind", KIND))
    return {
        name: MapAction(kind, code, main, limits, binary=bool(needed))
        for name, main in mains.items()
    }
