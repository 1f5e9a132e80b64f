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
from controller.mapreduce.job import (
    MOST_CHUNKS,
    Job,
    MapAction,
    Reduced,
    checked_chunks,
    checked_items,
    checked_limits,
)
from controller.mapreduce.options import OptionError, overridden

KIND = "nodejs:default"
SHIM = Path(__file__).with_name("job_shim.js")
#: Enough for a million arguments; a load that hangs must not hang us.
LOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class JavaScriptJob:
    path: Path
    name: str
    chunks: int
    items: str | None
    action: MapAction
    args: tuple[Raw, ...]
    changed: Mapping[str, Any]

    def arguments(self, chunk: int) -> bytes:
        return bytes(self.args[chunk])

    def reduce(self, results: Sequence[Raw]) -> Reduced:
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
    action: str | None = None
    args: list[Raw] = []
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
    chunks = checked_chunks(path, "numActions", config["numActions"])
    return JavaScriptJob(
        path=path,
        name=str(config.get("actionName") or path.stem),
        chunks=chunks,
        items=checked_items(path, config.get("items")),
        action=MapAction(
            kind=str(config.get("kind", KIND)),
            code=said.action or "",
            main="main",
            limits=checked_limits(
                path, "actionLimits", config.get("actionLimits") or {}
            ),
        ),
        args=tuple(said.args),
        changed=changed,
    )


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
    if "numActions" not in said.configs:
        raise JobError(path, "configs has no 'numActions'")
    return said.configs


def _node(
    path: Path,
    request: dict[str, Any],
    *,
    results: Sequence[Raw] | None = None,
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
            stored.write_bytes(msgspec.json.encode(list(results)))
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
