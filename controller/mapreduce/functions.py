"""`map_reduce(fn, items, reduce)`: a job without a file.

    total = map_reduce(lambda n: n * n, range(1_000_000), sum)

Items go to the nodes in groups, by what each node has done in which time; values come
back in the order of the items, and `reduce` is handed an iterator of them. `combine`, a
reduce of part of them that may be repeated on its own results, runs on the nodes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.fleet.target import Choice, Target, choose
from controller.mapreduce.calling_node import CallingNode
from controller.mapreduce.inputs import Inputs
from controller.mapreduce.job import ONLY, Invocation, MapAction, Reduced
from controller.mapreduce.pickled import by_value, calling_action, dump, load
from controller.mapreduce.plan import plan
from controller.mapreduce.run import crew, execute


@dataclass(frozen=True, slots=True)
class FunctionJob:
    """A `Job`."""

    inputs: Inputs
    action: MapAction
    reducer: Callable[[Iterator[Any]], Any]
    path: Path = Path("map_reduce")
    name: str = "map_reduce"
    grouped: bool = True
    by_inputs: bool = True
    items: str | None = None
    retry_errors: int = 0

    @property
    def units(self) -> int:
        return len(self.inputs)

    @property
    def actions(self) -> Mapping[str, MapAction]:
        return {ONLY: self.action}

    @property
    def digest(self) -> str:
        return self.inputs.digest

    def invocation(self, first: int, count: int) -> Invocation:
        return Invocation(ONLY, b'{"inputs":%b}' % self.inputs.text(first, count))

    def fits(self, first: int, count: int) -> int:
        return self.inputs.fits(first, count)

    def reduce(self, results: Sequence[Any]) -> Reduced:
        return Reduced(
            self.reducer(
                value for result in results for value in load(result["values"])
            )
        )


def map_reduce(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    reduce: Callable[[Iterator[Any]], Any],
    *,
    combine: Callable[[list[Any]], Any] | None = None,
    targets: Sequence[Target] | None = None,
    limits: Mapping[str, int] | None = None,
    requirements: Sequence[str] = (),
) -> Any:
    """Map the items by `fn` on the nodes, reduce the values here.

    Raises:
        TargetError: there is no fleet.
        RunFailed: `fn` failed for an item, no node is left, ...
    """
    if targets is None:
        targets = choose(Choice(), environ=os.environ, home=Path.home()).targets
    by_value(fn)
    texts = (b'"%b"' % dump(item).encode() for item in items)
    action = calling_action(
        limits=limits or {}, requirements=requirements, functions=(fn, combine)
    )
    job = FunctionJob(Inputs(Path("map_reduce"), texts), action, reduce)
    return _apart(_run(job, targets))


async def _run(job: FunctionJob, targets: Sequence[Target]) -> Any:
    run = plan(job, settings={}, out=None)
    async with crew(run.id, targets, wrap=CallingNode) as (nodes, _):
        report = await execute(run, nodes)
    await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)
    return report.result


def _apart(running: Any) -> Any:
    """In a thread and a loop of its own: the caller may be in a loop itself."""
    found: list[Any] = []
    errors: list[BaseException] = []

    def live() -> None:
        try:
            found.append(asyncio.run(running))
        except BaseException as error:  # noqa: BLE001 raised again below
            errors.append(error)

    thread = threading.Thread(target=live, name="edgewhisk-map-reduce")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]
