"""One run from a job to a report.

    report = await run_job(Path("pi.py"), targets, settings={"points": "1e9"})

The actions are put on every node under names of their own and removed when the map is
over, however it ended. Results are kept in `out`; without one, in a folder of the run,
deleted when the run has succeeded.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from controller.fleet.client import Client
from controller.fleet.retry import NO_RETRY
from controller.fleet.target import Target
from controller.mapreduce.errors import RunFailed
from controller.mapreduce.fleet_node import FleetNode
from controller.mapreduce.gantt import draw_run
from controller.mapreduce.job import Job
from controller.mapreduce.job_file import load_job
from controller.mapreduce.journal import LOCK, RESULTS, Entry, Journal, entry_lines
from controller.mapreduce.node import Node, NodeDown, NodeUnfit
from controller.mapreduce.patience import Patience
from controller.mapreduce.plan import Run, plan
from controller.mapreduce.progress import OnProgress, Report
from controller.mapreduce.results import read_results
from controller.mapreduce.runner import Find, Runner
from controller.mapreduce.trace import traced
from edge_agent.model.errors import EdgeWhiskError

_log = logging.getLogger(__name__)

#: For taking the actions off all nodes, also those that are slow to answer.
REMOVE_S = 10.0

FindTargets = Callable[[], Sequence[Target]]


async def run_job(
    job_path: Path,
    targets: Sequence[Target],
    *,
    settings: Mapping[str, str],
    out: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Map the job over the targets and reduce it here.

    Raises:
        JobError: the job file or a setting is wrong.
        RunFailed: the work failed; the text says where the results so far are.
    """
    job = await asyncio.to_thread(load_job, job_path, settings=settings)
    return await run_loaded(
        job, targets, settings=settings, out=out, on_progress=on_progress
    )


async def run_loaded(
    job: Job,
    targets: Sequence[Target],
    *,
    settings: Mapping[str, str],
    out: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """The same for a job that is loaded; `settings` are only written down."""
    run = plan(job, settings=settings, out=out)
    return await run_planned(run, targets, on_progress=on_progress)


async def run_planned(
    run: Run,
    targets: Sequence[Target],
    *,
    on_progress: OnProgress | None = None,
    find_targets: FindTargets | None = None,
) -> Report:
    """The same for a run that is planned; `find_targets` is asked for more nodes."""
    async with crew(run.id, targets, find_targets) as (nodes, find), traced(run.id):
        return await execute(run, nodes, find=find, on_progress=on_progress)


@asynccontextmanager
async def crew(
    run_id: str,
    targets: Sequence[Target],
    find_targets: FindTargets | None = None,
    *,
    wrap: Callable[[FleetNode], Node] = lambda node: node,
) -> AsyncIterator[tuple[list[Node], Find | None]]:
    """A node for each target, and what finds more of them."""
    async with AsyncExitStack() as stack:
        known: dict[Target, Node] = {}

        async def met(found: Sequence[Target]) -> list[Node]:
            new = [target for target in found if target not in known]
            for target, name in zip(new, _names(new, known.values()), strict=True):
                client = Client(target, retry=NO_RETRY, lean=True)
                await stack.enter_async_context(client)
                known[target] = wrap(FleetNode(client, name=name, run=run_id))
            return list(known.values())

        async def find() -> Sequence[Node]:
            assert find_targets is not None  # noqa: S101 else it is not handed out
            try:
                return await met(await asyncio.to_thread(find_targets))
            except EdgeWhiskError as error:
                _log.debug("no new nodes: %s", error)
                return []

        nodes = await met(targets)
        yield nodes, find if find_targets is not None else None


def _names(targets: Sequence[Target], known: Iterable[Node]) -> list[str]:
    """What the report calls them: each name once."""
    names = [node.name for node in known]
    before = len(names)
    for target in targets:
        name = target.name or target.url
        names.append(f"{name}#{len(names) + 1}" if name in names else name)
    return names[before:]


async def execute(
    run: Run,
    nodes: Sequence[Node],
    *,
    find: Find | None = None,
    on_progress: OnProgress | None = None,
    patience: Patience | None = None,
) -> Report:
    """Carry a planned run out on nodes."""
    started = time.monotonic()
    header = msgspec.to_builtins(run.header())
    journal = Journal(run.folder, header, resumed=run.resumed)
    await asyncio.to_thread(journal.open)
    try:
        runner = await asyncio.to_thread(
            lambda: Runner(
                run.job,
                nodes,
                run=run.id,
                action_name=run.action_name,
                keeper=journal,
                done=_done(run),
                find=find,
                on_progress=on_progress,
                patience=patience,
            )
        )
        async with _kept(run, runner):
            await _map(runner, journal)
            map_s = runner.seconds
            reduced = await asyncio.to_thread(
                lambda: run.job.reduce(read_results(run.folder))
            )
            report = Report(
                run=runner.run_id,
                result=reduced.value,
                seconds=time.monotonic() - started,
                chunks=runner.chunks,
                retries=runner.schedule.retries,
                backups=runner.schedule.backups,
                nodes=runner.reports(),
                printed=reduced.printed,
                map_s=map_s,
                folder="" if run.passing else str(run.folder),
            )
            await asyncio.to_thread(_finish, run, journal, report)
    finally:
        await asyncio.to_thread(journal.unlock)
    return report


def _done(run: Run) -> Iterator[Entry]:
    if run.resumed:
        yield from (entry for entry, _ in entry_lines(run.folder / RESULTS))


async def _map(runner: Runner, journal: Journal) -> None:
    try:
        await runner.run()
    finally:
        await remove_all(runner)
        await asyncio.to_thread(journal.close)


def _finish(run: Run, journal: Journal, report: Report) -> None:
    """Reports stay; of a passing run the results go."""
    journal.finish(report.as_json(), report.details())
    if run.passing:
        for name in (RESULTS, LOCK):
            (run.folder / name).unlink(missing_ok=True)
        return
    draw_run(run.folder, report)


@asynccontextmanager
async def _kept(run: Run, runner: Runner) -> AsyncIterator[None]:
    """Say where the results of a run that does not succeed are."""
    try:
        yield
    except (EdgeWhiskError, asyncio.CancelledError) as error:
        completed = runner.schedule.completed_units
        if not completed and run.passing:
            await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)
            raise
        text = f"{completed} of {run.job.units} map results are kept in {run.folder}"
        if isinstance(error, RunFailed):
            error.kept = text
        else:
            _log.warning("%s", text)
        raise


async def remove_all(runner: Runner) -> None:
    """Take the actions of the run off every node that may have them."""
    nodes = [node for name, node in runner.nodes.items() if name in runner.deployed]
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            name = f"mapreduce-remove-{node.name}"
            knew = runner.tallies[node.name].joined_at is not None
            for action_name in runner.action_names:
                removing = remove_one(node, action_name, knew=knew)
                group.create_task(removing, name=name)


async def remove_one(node: Node, action_name: str, *, knew: bool) -> None:
    """`knew`: the node had the action; else it hardly matters that it is gone."""
    try:
        async with asyncio.timeout(REMOVE_S):
            await node.remove(action_name)
    except (NodeDown, NodeUnfit, TimeoutError) as error:
        level = logging.WARNING if knew else logging.DEBUG
        _log.log(level, "%s keeps the action %s: %s", node.name, action_name, error)
