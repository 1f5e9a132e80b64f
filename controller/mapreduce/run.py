"""One run from a job file to a report.

    report = await run_job(Path("pi.py"), targets, settings={"points": "1e9"})

The action is put on every node under a name of its own and removed when the map is
over, however it ended. Results are kept in `out`; without one, in a folder of the run,
deleted when the run has succeeded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.fleet.client import Client
from controller.fleet.local_state import data_home
from controller.fleet.retry import NO_RETRY
from controller.fleet.target import Target
from controller.mapreduce.errors import RunFailed
from controller.mapreduce.fleet_node import FleetNode
from controller.mapreduce.job import Job, Reduced, load_job
from controller.mapreduce.journal import Journal, read_results
from controller.mapreduce.node import Node, NodeDown, NodeUnfit
from controller.mapreduce.patience import Patience
from controller.mapreduce.progress import OnProgress, Report
from controller.mapreduce.runner import Runner
from edge_agent.model.errors import EdgeWhiskError

_log = logging.getLogger(__name__)

#: For taking the actions off all nodes, also those that are slow to answer.
REMOVE_S = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is about to be made."""

    id: str
    job: Job
    folder: Path
    #: Whether the folder goes when the run has succeeded.
    passing: bool
    settings: Mapping[str, str]

    @property
    def action_name(self) -> str:
        """Legal whatever the job is called, and nobody else's."""
        name = re.sub(r"[^\w.-]", "-", self.job.name, flags=re.ASCII)
        return f"{name}-{self.id}"

    def header(self) -> dict[str, object]:
        return {
            "run": self.id,
            "job": str(self.job.path),
            "settings": dict(self.settings),
            "chunks": self.job.chunks,
            "started_ms": time.time_ns() // 1_000_000,
        }


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
    async with AsyncExitStack() as stack:
        nodes = []
        for target, name in zip(targets, _names(targets), strict=True):
            client = Client(target, retry=NO_RETRY)
            await stack.enter_async_context(client)
            nodes.append(FleetNode(client, name=name, run=run.id))
        return await execute(run, nodes, on_progress=on_progress)


def _names(targets: Sequence[Target]) -> list[str]:
    """What the report calls them: each name once."""
    names: list[str] = []
    for target in targets:
        name = target.name or target.url
        names.append(f"{name}#{len(names) + 1}" if name in names else name)
    return names


def plan(job: Job, *, settings: Mapping[str, str], out: Path | None) -> Run:
    run_id = secrets.token_hex(4)
    runs = data_home(os.environ, Path.home()) / "runs"
    folder = runs / run_id if out is None else out.expanduser().absolute()
    return Run(run_id, job, folder, passing=out is None, settings=settings)


async def execute(
    run: Run,
    nodes: Sequence[Node],
    *,
    on_progress: OnProgress | None = None,
    patience: Patience | None = None,
) -> Report:
    """Carry a planned run out on nodes."""
    started = time.monotonic()
    journal = Journal(run.folder, run.header())
    runner = Runner(
        run.job,
        nodes,
        run=run.id,
        action_name=run.action_name,
        journal=journal,
        on_progress=on_progress,
        patience=patience,
    )
    async with _kept(run, runner):
        await _map(runner, journal)
        reduced = await asyncio.to_thread(_reduce, run)
        report = _report(runner, reduced, time.monotonic() - started)
        await asyncio.to_thread(journal.finish, report.as_json())
    if run.passing:
        await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)
    return report


async def _map(runner: Runner, journal: Journal) -> None:
    await asyncio.to_thread(journal.open)
    try:
        await runner.run()
    finally:
        await _remove(runner)
        await asyncio.to_thread(journal.close)


@asynccontextmanager
async def _kept(run: Run, runner: Runner) -> AsyncIterator[None]:
    """Say where the results of a run that does not succeed are."""
    try:
        yield
    except (EdgeWhiskError, asyncio.CancelledError) as error:
        completed = runner.schedule.completed_chunks
        if not completed and run.passing:
            await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)
            raise
        text = f"{completed} of {run.job.chunks} map results are kept in {run.folder}"
        if isinstance(error, RunFailed):
            error.kept = text
        else:
            _log.warning("%s", text)
        raise


def _reduce(run: Run) -> Reduced:
    results = read_results(run.folder)
    return run.job.reduce([results[chunk] for chunk in range(run.job.chunks)])


def _report(runner: Runner, reduced: Reduced, seconds: float) -> Report:
    return Report(
        run=runner.run_id,
        result=reduced.value,
        seconds=seconds,
        chunks=runner.job.chunks,
        retries=runner.schedule.retries,
        backups=runner.schedule.backups,
        nodes=runner.reports(),
        printed=reduced.printed,
    )


async def _remove(runner: Runner) -> None:
    async with asyncio.TaskGroup() as group:
        for node in runner.nodes:
            if node.name in runner.deployed:
                name = f"mapreduce-remove-{node.name}"
                knew = runner.tallies[node.name].joined_at is not None
                removing = _remove_one(node, runner.action_name, knew=knew)
                group.create_task(removing, name=name)


async def _remove_one(node: Node, action_name: str, *, knew: bool) -> None:
    """`knew`: the node had the action; else it hardly matters that it is gone."""
    try:
        async with asyncio.timeout(REMOVE_S):
            await node.remove(action_name)
    except (NodeDown, NodeUnfit, TimeoutError) as error:
        level = logging.WARNING if knew else logging.DEBUG
        _log.log(level, "%s keeps the action %s: %s", node.name, action_name, error)
