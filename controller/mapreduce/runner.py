"""The map of a run: the policy's decisions carried out on real nodes.

Every node is served by a task of its own: it deploys the action, asks the policy for
work as long as there is some, and watches whether the node lives. A node that goes is
left (its chunks go elsewhere) and tried again until the run ends; one that `find`
finds on the way joins. Chunks are tasks of their node's group, so leaving a node ends
whatever still waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from msgspec import Raw

from controller.mapreduce.errors import RunFailed
from controller.mapreduce.hope import Hope, no_node_takes_it
from controller.mapreduce.job import ONLY, Job
from controller.mapreduce.journal import Entry
from controller.mapreduce.keeper import Keeper
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
from controller.mapreduce.pieces import Piece
from controller.mapreduce.policy import Assignment, Schedule, Wait
from controller.mapreduce.progress import (
    NodeReport,
    NodeState,
    OnProgress,
    Progress,
)
from controller.mapreduce.tally import Tally, items_in, moment
from edge_agent.model.errors import EdgeWhiskError


class _Gone(Exception):
    """This node does not answer any more."""


Find = Callable[[], Awaitable[Sequence[Node]]]


class Runner:
    """Maps one job over nodes. `run()` once.

    `done`: entries that are there already, read once. `find`: asked now and then for
    all nodes there are. `endless`: units may be added, and `stop` ends it.
    """

    def __init__(
        self,
        job: Job,
        nodes: Sequence[Node],
        *,
        run: str,
        action_name: str,
        keeper: Keeper,
        done: Iterable[Entry] = (),
        find: Find | None = None,
        on_progress: OnProgress | None = None,
        patience: Patience | None = None,
        endless: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job = job
        self.run_id = run
        self.nodes = {node.name: node for node in nodes}
        self.tallies = {name: Tally(name) for name in self.nodes}
        #: Counted, by this and earlier lives of the run.
        self.chunks = 0
        #: An earlier life of the run ended then, by the clock of the run.
        self._before_s = 0.0
        pieces = self._remember(done)
        self.schedule = Schedule(
            job.units, done=pieces, grouped=job.grouped, fits=job.fits
        )
        #: Nodes that may have the actions.
        self.deployed: set[str] = set()
        self._action_name = action_name
        self._actions = {name: self._full(name) for name in job.actions}
        self._keeper = keeper
        self._find = find
        self._on_progress = on_progress
        self._patience = patience or Patience()
        self._endless = endless
        self._clock = clock
        self._started_at = self._clock()
        self._over = asyncio.Event()
        self._error: EdgeWhiskError | None = None
        self._wakers = {name: asyncio.Event() for name in self.nodes}

    def _remember(self, done: Iterable[Entry]) -> list[Piece]:
        """Add up what earlier lives of the run have done."""
        pieces: dict[int, int] = {}
        for entry in done:
            if entry.chunk in pieces:
                continue
            pieces[entry.chunk] = entry.count
            tally = self.tallies.setdefault(entry.node, Tally(entry.node))
            self._add_up(tally, entry.count, entry.seconds, entry.result)
            self._before_s = max(self._before_s, entry.until)
        return list(pieces.items())

    def _add_up(self, tally: Tally, units: int, seconds: float, result: Raw) -> None:
        chunks = 1 if self.job.by_inputs else units
        self.chunks += chunks
        tally.count(chunks, items_in(result, self.job.items, units), seconds)

    async def run(self) -> None:
        """Return when every chunk has counted; the results are in the journal.

        Raises:
            RunFailed: an action failed, no node is left, the disk is full, ...
            JobError: the job's `args_for_action` failed.
        """
        self._started_at = now = self._clock()
        self._hope = Hope(self._patience, node_at=now, result_at=now)
        if self.schedule.finished and not self._endless:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [self._begin(group, node) for node in self.nodes.values()]
            tasks.append(group.create_task(self._watch(), name="mapreduce-watch"))
            if self._find is not None:
                finding = self._look_for_nodes(self._find, group, tasks)
                tasks.append(group.create_task(finding, name="mapreduce-find"))
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

    def stop(self) -> None:
        self._over.set()

    def add_units(self, count: int) -> None:
        self.schedule.extend(count)
        self._wake_all()

    @property
    def action_names(self) -> list[str]:
        """As the nodes know them."""
        return list(self._actions.values())

    @property
    def seconds(self) -> float:
        """Of the run, its earlier lives included."""
        return self._before_s + self._clock() - self._started_at

    def _full(self, name: str) -> str:
        return self._action_name if name == ONLY else f"{self._action_name}-{name}"

    def reports(self) -> tuple[NodeReport, ...]:
        return tuple(tally.report() for tally in self.tallies.values())

    # --- one node ---------------------------------------------------------------

    def _begin(self, group: asyncio.TaskGroup, node: Node) -> asyncio.Task[None]:
        return group.create_task(self._serve(node), name=f"mapreduce-{node.name}")

    async def _look_for_nodes(
        self, find: Find, group: asyncio.TaskGroup, tasks: list[asyncio.Task[None]]
    ) -> None:
        while True:
            asked = self._clock()
            for node in await find():
                if node.name not in self.nodes:
                    self.nodes[node.name] = node
                    self.tallies[node.name] = Tally(node.name)
                    self._wakers[node.name] = asyncio.Event()
                    tasks.append(self._begin(group, node))
            took_s = self._clock() - asked
            # An inventory may be a program that takes its time.
            await asyncio.sleep(max(self._patience.find_s, 20 * took_s))

    async def _serve(self, node: Node) -> None:
        pause_s = self._patience.try_first_s
        while not self._over.is_set():
            if await self._join(node):
                pause_s = self._patience.try_first_s
                await self._work(node)
            if self.tallies[node.name].state is NodeState.UNFIT:
                hopeless = no_node_takes_it(self.tallies.values())
                if hopeless is not None:
                    self._fail(hopeless)
                return
            await _settles(self._over, pause_s)
            pause_s = min(2 * pause_s, self._patience.try_most_s)

    async def _join(self, node: Node) -> bool:
        tally = self.tallies[node.name]
        self.deployed.add(node.name)
        try:
            for name, action in self.job.actions.items():
                await node.deploy(self._actions[name], action)
            vitals = await node.vitals()
        except (NodeDown, NodeUnfit) as error:
            unfit = isinstance(error, NodeUnfit)
            tally.state = NodeState.UNFIT if unfit else NodeState.DOWN
            tally.trouble = str(error)
            return False
        tally.state, tally.trouble, tally.slots = NodeState.WORKING, "", vitals.slots
        if tally.joined_at is None:
            tally.joined_at = tally.last_at = self.seconds
        tally.look(vitals, self.seconds)
        self.schedule.join(node.name, slots=vitals.slots, cores=vitals.cores)
        return True

    async def _work(self, node: Node) -> None:
        """Until the node is gone."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look(node), name=f"mapreduce-look-{node.name}")
                group.create_task(node.listen(), name=f"mapreduce-hear-{node.name}")
                await self._hand_out(node, group)
        except* _Gone as gone:
            self._leave(node, str(gone.exceptions[0]))

    def _leave(self, node: Node, reason: str) -> None:
        tally = self.tallies[node.name]
        tally.failures += self.schedule.in_flight_on(node.name)
        tally.state, tally.trouble = NodeState.DOWN, reason
        for attempt in self.schedule.leave(node.name):
            text = f"chunk {attempt.chunk} was lost too often: {reason}"
            self._give_up(attempt, RunFailed(text))
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
                vitals = await node.vitals()
        except TimeoutError:
            return f"no answer within {self._patience.answer_s:g} s"
        except (NodeDown, NodeUnfit) as error:
            return str(error)
        self.tallies[node.name].look(vitals, self.seconds)
        return ""

    # --- one chunk --------------------------------------------------------------

    async def _attempt(self, node: Node, attempt: Assignment) -> None:
        at = self.seconds
        try:
            asked = self.job.invocation(attempt.chunk, attempt.count)
        except EdgeWhiskError as error:
            self._give_up(attempt, error)
            return
        if asked is None:
            self.schedule.dropped(attempt)
            self._wakers[node.name].set()
            return
        tally = self.tallies[node.name]
        tally.backups += attempt.backup
        outcome = await node.run(self._actions[asked.action], asked.arguments)
        match outcome:
            case Done():
                self._count(tally, attempt, outcome, at)
            case Failed():
                tally.failures += 1
                self._fail_chunk(attempt, outcome)
            case Refused(asked_s=asked_s):
                tally.failures += 1
                self.schedule.refused(attempt, now=self._clock(), asked_s=asked_s)
                self._wake_all()
            case Lost(reason=reason):
                await self._lose(node, attempt, reason)
        self._wakers[node.name].set()

    def _count(self, tally: Tally, attempt: Assignment, done: Done, at: float) -> None:
        now = self._clock()
        if not self.schedule.completed(attempt, seconds=done.seconds, now=now):
            return
        self._hope.result_at = now
        tally.last_at = until = self.seconds
        self._add_up(tally, attempt.count, done.seconds, done.result)
        entry = Entry(
            chunk=attempt.chunk,
            count=attempt.count,
            node=tally.name,
            activation=done.activation_id,
            seconds=done.seconds,
            at=round(at, 4),
            until=round(until, 4),
            result=done.result,
        )
        self._keeper.add(entry)
        self._end_if_finished()

    def _fail_chunk(self, attempt: Assignment, failed: Failed) -> None:
        again = self.schedule.failed(attempt, retries=self.job.retry_errors)
        if again:
            self._wake_all()
            return
        self._give_up(attempt, _chunk_failed(attempt, failed))

    async def _lose(self, node: Node, attempt: Assignment, reason: str) -> None:
        # A broken connection may be that one's, or the first word of a dead node.
        gone = await self._trouble(node)
        if gone:
            raise _Gone(gone)
        self.tallies[node.name].failures += 1
        if not self.schedule.lost(attempt):
            text = f"chunk {attempt.chunk} was lost too often; on {node.name}: {reason}"
            self._give_up(attempt, RunFailed(text))
        self._wake_all()

    def _give_up(self, attempt: Assignment, error: EdgeWhiskError) -> None:
        """End the run, unless it goes on without this chunk."""
        if not self._keeper.gave_up(attempt.chunk, error):
            self._fail(error)
            return
        self.schedule.dropped(attempt)
        self._end_if_finished()
        self._wake_all()

    def _end_if_finished(self) -> None:
        if self.schedule.finished and not self._endless:
            self._over.set()

    # --- the run ----------------------------------------------------------------

    async def _watch(self) -> None:
        """Write results down, say how it goes, and see when there is no hope."""
        while True:
            await asyncio.sleep(self._patience.progress_s)
            try:
                await asyncio.to_thread(self._keeper.flush)
            except RunFailed as error:
                self._fail(error)
            self._report_progress()
            tallies = self.tallies.values()
            hopeless = self._hope.lost(self.schedule, tallies, self._clock())
            if hopeless is not None:
                self._fail(hopeless)

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
        return moment(self.run_id, self.schedule, self.tallies, self.seconds)


async def _settles(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _chunk_failed(attempt: Assignment, failed: Failed) -> RunFailed:
    where = f"activation {failed.activation_id} on {attempt.node}"
    return RunFailed(f"chunk {attempt.chunk} failed: {failed.reason} ({where})")
