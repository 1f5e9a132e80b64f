"""The map of a run: the policy's decisions carried out on real nodes.

Every node is served by a task of its own: it deploys the action, asks the policy for
work as long as there is some, and watches whether the node lives. A node that goes is
left (its chunks go elsewhere) and tried again until the run ends. Chunks are tasks of
their node's group, so leaving a node ends whatever still waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from controller.mapreduce.errors import RunFailed
from controller.mapreduce.job import Job
from controller.mapreduce.journal import Entry, Journal
from controller.mapreduce.node import (
    Done,
    Failed,
    Lost,
    Node,
    NodeDown,
    NodeUnfit,
    Refused,
)
from controller.mapreduce.patience import Patience
from controller.mapreduce.policy import Assignment, Schedule, Wait
from controller.mapreduce.progress import (
    NodeReport,
    NodeState,
    OnProgress,
    Progress,
)
from controller.mapreduce.tally import Tally, items_in
from edge_agent.model.errors import EdgeWhiskError


class _Gone(Exception):
    """This node does not answer any more."""


class Runner:
    """Maps one job over nodes. `run()` once."""

    def __init__(
        self,
        job: Job,
        nodes: Sequence[Node],
        *,
        run: str,
        action_name: str,
        journal: Journal,
        on_progress: OnProgress | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job = job
        self.nodes = nodes
        self.run_id = run
        self.action_name = action_name
        self.schedule = Schedule(job.chunks)
        self.tallies = {node.name: Tally(node.name) for node in nodes}
        #: Nodes that may have the action.
        self.deployed: set[str] = set()
        self._journal = journal
        self._on_progress = on_progress
        self._patience = patience or Patience()
        self._clock = clock
        self._over = asyncio.Event()
        self._error: EdgeWhiskError | None = None
        self._wakers = {node.name: asyncio.Event() for node in nodes}

    async def run(self) -> None:
        """Return when every chunk has counted; the results are in the journal.

        Raises:
            RunFailed: an action failed, no node is left, the disk is full, ...
            JobError: the job's `args_for_action` failed.
        """
        self._started_at = self._last_at = self._node_at = self._clock()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._serve(node), name=f"mapreduce-{node.name}")
                for node in self.nodes
            ]
            tasks.append(group.create_task(self._watch(), name="mapreduce-watch"))
            try:
                await self._over.wait()
            finally:
                # Said as well as cancelled: a group whose child has failed in the
                # same moment lets its cancellation go.
                self._over.set()
                for task in tasks:
                    task.cancel()
        self._report_progress()
        if self._error is not None:
            raise self._error

    def reports(self) -> tuple[NodeReport, ...]:
        return tuple(tally.report() for tally in self.tallies.values())

    # --- one node ---------------------------------------------------------------

    async def _serve(self, node: Node) -> None:
        pause_s = self._patience.try_first_s
        while not self._over.is_set():
            if await self._join(node):
                pause_s = self._patience.try_first_s
                await self._work(node)
            if self.tallies[node.name].state is NodeState.UNFIT:
                self._give_up_without_hope()
                return
            await _settles(self._over, pause_s)
            pause_s = min(2 * pause_s, self._patience.try_most_s)

    async def _join(self, node: Node) -> bool:
        tally = self.tallies[node.name]
        self.deployed.add(node.name)
        try:
            await node.deploy(self.action_name, self.job.action)
            tally.slots = await node.slots()
        except (NodeDown, NodeUnfit) as error:
            unfit = isinstance(error, NodeUnfit)
            tally.state = NodeState.UNFIT if unfit else NodeState.DOWN
            tally.trouble = str(error)
            return False
        tally.state, tally.trouble = NodeState.WORKING, ""
        if tally.joined_at is None:
            tally.joined_at = self._clock()
        self.schedule.join(node.name, slots=tally.slots)
        return True

    async def _work(self, node: Node) -> None:
        """Until the node is gone."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look(node), name=f"mapreduce-look-{node.name}")
                await self._hand_out(node, group)
        except* _Gone as gone:
            self._leave(node, str(gone.exceptions[0]))

    def _leave(self, node: Node, reason: str) -> None:
        tally = self.tallies[node.name]
        tally.failures += self.schedule.in_flight_on(node.name)
        tally.state, tally.trouble = NodeState.DOWN, reason
        if not self.schedule.leave(node.name):
            self._fail(RunFailed(f"a chunk was lost too often: {reason}"))
        self._wake_all()

    async def _hand_out(self, node: Node, group: asyncio.TaskGroup) -> None:
        waker = self._wakers[node.name]
        while not self._over.is_set():
            match self.schedule.take(node.name, now=self._clock()):
                case Assignment() as attempt:
                    name = f"mapreduce-{node.name}-{attempt.chunk}"
                    group.create_task(self._attempt(node, attempt), name=name)
                case Wait(seconds=seconds):
                    waker.clear()
                    await _settles(waker, seconds)

    async def _look(self, node: Node) -> None:
        """Raise _Gone when the node has not answered for some time."""
        silent = 0
        while True:
            await asyncio.sleep(self._patience.look_s)
            trouble = await self._trouble(node)
            silent = silent + 1 if trouble else 0
            if trouble and silent >= self._patience.looks:
                raise _Gone(trouble)

    async def _trouble(self, node: Node) -> str:
        """Why the node does not answer; empty when it does."""
        try:
            async with asyncio.timeout(self._patience.answer_s):
                await node.slots()
        except TimeoutError:
            return f"no answer within {self._patience.answer_s:g} s"
        except (NodeDown, NodeUnfit) as error:
            return str(error)
        return ""

    # --- one chunk --------------------------------------------------------------

    async def _attempt(self, node: Node, attempt: Assignment) -> None:
        try:
            arguments = self.job.arguments(attempt.chunk)
        except EdgeWhiskError as error:
            self._fail(error)
            return
        outcome = await node.run(self.action_name, arguments)
        tally = self.tallies[node.name]
        match outcome:
            case Done():
                self._count(tally, attempt, outcome)
            case Failed(reason=reason, activation_id=activation_id):
                tally.failures += 1
                self._fail(_chunk_failed(attempt, reason, activation_id))
            case Refused(asked_s=asked_s):
                tally.failures += 1
                self.schedule.refused(attempt, now=self._clock(), asked_s=asked_s)
                self._wake_all()
            case Lost(reason=reason):
                await self._lose(node, attempt, reason)
        self._wakers[node.name].set()

    def _count(self, tally: Tally, attempt: Assignment, done: Done) -> None:
        now = self._clock()
        if not self.schedule.completed(attempt, seconds=done.seconds, now=now):
            return
        self._last_at = tally.last_at = now
        tally.count(items_in(done.result, self.job.items), done.seconds)
        entry = Entry(
            attempt.chunk, tally.name, done.activation_id, done.seconds, done.result
        )
        self._journal.add(entry)
        if self.schedule.finished:
            self._over.set()

    async def _lose(self, node: Node, attempt: Assignment, reason: str) -> None:
        # A broken connection may be that one's, or the first word of a dead node.
        gone = await self._trouble(node)
        if gone:
            raise _Gone(gone)
        self.tallies[node.name].failures += 1
        if not self.schedule.lost(attempt):
            text = f"chunk {attempt.chunk} was lost too often; on {node.name}: {reason}"
            self._fail(RunFailed(text))
        self._wake_all()

    # --- the run ----------------------------------------------------------------

    async def _watch(self) -> None:
        """Write results down, say how it goes, and see when there is no hope."""
        while True:
            await asyncio.sleep(self._patience.progress_s)
            try:
                await asyncio.to_thread(self._journal.flush)
            except RunFailed as error:
                self._fail(error)
            self._report_progress()
            self._check_patience()

    def _check_patience(self) -> None:
        now = self._clock()
        if self.schedule.nodes:
            self._node_at = now
        joined = any(tally.joined_at is not None for tally in self.tallies.values())
        patience = self._patience
        without_s = patience.no_node_s if joined else patience.first_node_s
        if now - self._node_at > without_s:
            what = "no node is left" if joined else "no node can be reached"
            self._fail(RunFailed(f"{what}: {self._troubles()}"))
        stuck = self.schedule.refused_everywhere
        if stuck and now - self._last_at > patience.refused_s:
            text = f"no result for {patience.refused_s:g} s: every node refuses"
            self._fail(RunFailed(text))

    def _give_up_without_hope(self) -> None:
        states = {tally.state for tally in self.tallies.values()}
        if states == {NodeState.UNFIT}:
            self._fail(RunFailed(f"no node takes the job: {self._troubles()}"))

    def _troubles(self) -> str:
        """Each trouble once, with the nodes that have it."""
        nodes: dict[str, list[str]] = {}
        for tally in self.tallies.values():
            if tally.trouble:
                nodes.setdefault(tally.trouble, []).append(tally.name)
        return "; ".join(f"{', '.join(names)}: {what}" for what, names in nodes.items())

    def _fail(self, error: EdgeWhiskError) -> None:
        """End the run; the first reason is the one that is told."""
        if self._error is None:
            self._error = error
        self._over.set()

    def _wake_all(self) -> None:
        for waker in self._wakers.values():
            waker.set()

    def _report_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.progress())

    def progress(self) -> Progress:
        seconds = self._clock() - self._started_at
        items = sum(tally.items for tally in self.tallies.values())
        return Progress(
            run=self.run_id,
            chunks=self.job.chunks,
            completed=self.schedule.completed_chunks,
            in_flight=self.schedule.in_flight,
            retries=self.schedule.retries,
            backups=self.schedule.backups,
            items=items,
            items_per_s=items / seconds if seconds > 0 else 0.0,
            seconds=seconds,
            nodes=tuple(
                tally.progress(self.schedule.in_flight_on(tally.name))
                for tally in self.tallies.values()
            ),
        )


async def _settles(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _chunk_failed(attempt: Assignment, reason: str, activation_id: str) -> RunFailed:
    where = f"activation {activation_id} on {attempt.node}"
    return RunFailed(f"chunk {attempt.chunk} failed: {reason} ({where})")
