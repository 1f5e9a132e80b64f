"""Built-in actions: coroutines of ours that are invoked like any action.

`app` fills the table from the rooms that offer them (feeds of events, utilities). They
are listed with `exec.kind: "builtin"`; nobody can put or delete one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from edge_agent.model.activations import (
    Answer,
    Cause,
    Gone,
    Response,
    StartKind,
    Status,
    failure,
    read_run,
)
from edge_agent.model.entities import Action, Exec, KeyValue
from edge_agent.model.errors import BuiltinError
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.model.names import FullName

BUILTIN_KIND = "builtin"
VERSION = "1.0.0"

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode

Call = Callable[[Identity, dict[str, Any]], Awaitable[Any]]


class Builtin(msgspec.Struct, frozen=True, eq=False):
    """`call` gets the caller and the arguments; it returns any JSON value.

    A `BuiltinError` it raises is an application error with that text.
    """

    name: FullName
    call: Call
    annotations: Mapping[str, Any] = {}

    @property
    def action(self) -> Action:
        """The entity that GET and lists show."""
        annotations = {"exec": BUILTIN_KIND, **self.annotations}
        return Action(
            namespace=self.name.path,
            name=self.name.name,
            version=VERSION,
            publish=True,
            annotations=[KeyValue(key=k, value=v) for k, v in annotations.items()],
            exec=Exec(kind=BUILTIN_KIND, binary=False),
        )


class BuiltinRunner:
    """Runs them as tasks of its own; the counterpart of the pool."""

    def __init__(self, builtins: Mapping[FullName, Builtin]) -> None:
        self._builtins = builtins
        self._tasks: set[asyncio.Task[Finished]] = set()

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        name = job.action.full_name
        task = asyncio.create_task(
            self._run(self._builtins[name], job), name=f"builtin[{name}]"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, builtin: Builtin, job: Job) -> Finished:
        started_ns = time.monotonic_ns()
        start_ms = int(time.time() * 1000)
        timeout_ms = job.action.limits.timeout
        timed_out = False
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                response = await _respond(builtin, job)
        except TimeoutError:
            timed_out = True
            response = read_run(Gone(Cause.TIMED_OUT), timeout_ms=timeout_ms)
        return Finished(
            response=response,
            start_ms=start_ms,
            wait_ms=(started_ns - job.accepted_ns) // 1_000_000,
            run_ms=(time.monotonic_ns() - started_ns) // 1_000_000,
            start=StartKind.WARM,
            timed_out=timed_out,
        )


async def _respond(builtin: Builtin, job: Job) -> Response:
    try:
        result = await builtin.call(job.identity, msgspec.json.decode(job.arguments))
    except BuiltinError as error:
        return failure(Status.APPLICATION_ERROR, error.shown)
    except TimeoutError:
        raise
    except Exception:  # one of the three edges: a fault of ours becomes a record
        log.exception("built-in %s failed", builtin.name, extra=job.log_fields)
        return failure(
            Status.WHISK_ERROR, f"{builtin.name} failed; see the node's log."
        )
    # A field `error` means to a built-in action what it means to any other (A67).
    return read_run(Answer(_encode(result)), timeout_ms=job.action.limits.timeout)
