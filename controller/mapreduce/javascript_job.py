"""Job files in JavaScript, in the form of Serverless-Supercomputing's.

Node.js runs the file here, once to load it and once to reduce; only the text of
`action` goes to the nodes, as it always did, so the old job files run unchanged.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.errors import JobError, ReduceFailed
from controller.mapreduce.inputs import Inputs, read_inputs
from controller.mapreduce.job import Invocation, Job, MapAction, Reduced
from controller.mapreduce.job_config import (
    MOST_CHUNKS,
    checked_chunks,
    checked_items,
    checked_limits,
    checked_retries,
    digest_of,
)
from controller.mapreduce.options import OptionError, overridden
from controller.mapreduce.results import write_array

KIND = "nodejs:default"
SHIM = Path(__file__).with_name("job_shim.js")
#: Enough for a million arguments; a load that hangs must not hang us.
LOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class JavaScriptJob:
    path: Path
    name: str
    units: int
    grouped: bool
    items: str | None
    retry_errors: int
    actions: Mapping[str, MapAction]
    digest: str
    inputs: Inputs | None
    args: tuple[Raw, ...]
    #: Which action each chunk is for, where there are several.
    names: tuple[str, ...]
    changed: Mapping[str, Any]

    @property
    def by_inputs(self) -> bool:
        return self.inputs is not None

    def invocation(self, first: int, count: int) -> Invocation:
        if self.inputs is not None:
            return Invocation("", b'{"inputs":%b}' % self.inputs.text(first, count))
        if self.grouped:
            chunks = b",".join(map(bytes, self.args[first : first + count]))
            return Invocation("", b'{"chunks":[%b]}' % chunks)
        name = self.names[first] if self.names else ""
        return Invocation(name, bytes(self.args[first]))

    def fits(self, first: int, count: int) -> int:
        return count if self.inputs is None else self.inputs.fits(first, count)

    def reduce(self, results: Sequence[Any]) -> Reduced:
        request = {"do": "reduce", "job": str(self.path), "set": dict(self.changed)}
        said = _node(self.path, request, results=results, timeout_s=None)
        if said.error is not None:
            raise ReduceFailed(self.path, said.error.text, line=said.error.line)
        nothing = said.value is None and said.printed
        return Reduced(said.printed if nothing else said.value, said.printed)


class ShimError(msgspec.Struct, frozen=True):
    text: str
    line: int | None = None


class Said(msgspec.Struct, frozen=True):
    """The shim's answer; which fields are there depends on what was asked."""

    configs: Any = None
    wrong: list[str] = []
    inputs: Any = None
    grouped: bool = False
    actions: dict[str, str] = {}
    args: list[Raw] = []
    names: list[Any] = []
    value: Any = None
    error: ShimError | None = None
    printed: str = ""


def load(path: Path, settings: Mapping[str, str]) -> Job:
    said = _load(path, {})
    config = _configs(path, said)
    try:
        changed = overridden(config, settings)
    except OptionError as error:
        raise JobError(path, str(error)) from error
    if changed:
        said = _load(path, changed)
        config = _configs(path, said)
    inputs = None if said.inputs is None else read_inputs(path, said.inputs)
    units = (
        checked_chunks(path, "numActions", config["numActions"])
        if inputs is None
        else len(inputs)
    )
    if said.grouped and (inputs is not None or "" not in said.actions):
        raise JobError(path, "'combine' goes with one 'action' and 'numActions'")
    return JavaScriptJob(
        path=path,
        name=str(config.get("actionName") or path.stem),
        units=units,
        grouped=said.grouped or inputs is not None,
        items=checked_items(path, config.get("items")),
        retry_errors=checked_retries(path, "retryErrors", config.get("retryErrors", 0)),
        actions=_actions(path, config, said),
        digest=digest_of(changed, units, inputs.digest if inputs else ""),
        inputs=inputs,
        args=tuple(said.args),
        names=_names(path, said),
        changed=changed,
    )


def _actions(path: Path, config: dict[str, Any], said: Said) -> dict[str, MapAction]:
    kind = str(config.get("kind", KIND))
    limits = checked_limits(path, "actionLimits", config.get("actionLimits") or {})
    return {
        name: MapAction(kind, code, "main", limits)
        for name, code in said.actions.items()
    }


def _names(path: Path, said: Said) -> tuple[str, ...]:
    for chunk, name in enumerate(said.names):
        if name not in said.actions:
            known = ", ".join(said.actions)
            text = f"actionFor({chunk}) gave {name!r}; there are: {known}"
            raise JobError(path, text)
    return tuple(said.names)


def _load(path: Path, changed: Mapping[str, Any]) -> Said:
    request = {
        "do": "load",
        "job": str(path),
        "set": dict(changed),
        "most": MOST_CHUNKS,
    }
    said = _node(path, request, timeout_s=LOAD_TIMEOUT_S)
    if said.error is not None:
        raise JobError(path, said.error.text, line=said.error.line)
    return said


def _configs(path: Path, said: Said) -> dict[str, Any]:
    if said.wrong:
        raise JobError(path, f"exports no function '{said.wrong[0]}'")
    if not isinstance(said.configs, dict):
        raise JobError(path, "exports no 'configs'")
    if "numActions" not in said.configs and said.inputs is None:
        raise JobError(path, "configs has no 'numActions'")
    return said.configs


def _node(
    path: Path,
    request: dict[str, Any],
    *,
    results: Sequence[Any] | None = None,
    timeout_s: float | None,
) -> Said:
    node = shutil.which("node")
    if node is None:
        reason = "a JavaScript job needs Node.js (apt-get install nodejs)"
        raise JobError(path, reason)
    with tempfile.TemporaryDirectory(prefix="edgewhisk-job-") as folder:
        asked, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        if results is not None:
            stored = Path(folder, "results.json")
            write_array(stored, results)
            request = {**request, "results": str(stored)}
        asked.write_bytes(msgspec.json.encode(request))
        command = (node, str(SHIM), str(asked), str(answer))
        printed, talk = _run(path, command, timeout_s=timeout_s)
        if not answer.exists():
            last = (talk.strip().splitlines() or ["no answer"])[-1]
            raise JobError(path, f"node gave up: {last}")
        said = msgspec.json.decode(answer.read_bytes(), type=Said)
        return msgspec.structs.replace(said, printed=printed)


def _run(
    path: Path, command: Sequence[str], *, timeout_s: float | None
) -> tuple[str, str]:
    """What the process wrote to stdout and stderr."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise JobError(path, f"did not load within {timeout_s:g} s") from error
    return ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
