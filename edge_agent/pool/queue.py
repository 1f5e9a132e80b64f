"""Jobs that wait for a sandbox: two lanes, bounded in jobs and in bytes.

Blocking jobs have a lane of their own; which of the two heads is next is the policy's
choice. Each lane is FIFO and also knows its jobs by revision, because a sandbox that
gets idle asks for the first job it could run. Both are looked up and left in constant
time: whoever leaves a lane is the first of it, or the first of its revision.

The other jobs may fill only half of the queue, so that a node full of events still has
room for somebody who waits for an answer (design.md, promise 1).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import chain

import msgspec

from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished, Job
from edge_agent.pool.context import network_of
from edge_agent.pool.policy import Revision, blocking_next


class Waiting(msgspec.Struct, eq=False):
    """A job and the future of its end; what the policy calls a request.

    `overtaken_ms` is the running time that was put before it while it was the head,
    `put_back` says that a sandbox died under it before it had begun.
    """

    job: Job
    revision: Revision
    future: asyncio.Future[Finished]
    overtaken_ms: int = 0
    put_back: bool = False

    @property
    def kind(self) -> str:
        return self.job.action.exec.runs_as

    @property
    def memory_mb(self) -> int:
        return self.job.action.limits.memory

    @property
    def concurrency(self) -> int:
        return self.job.action.limits.concurrency

    @property
    def network(self) -> str:
        return network_of(self.job.action)

    @property
    def size(self) -> int:
        """Bytes it holds in the queue."""
        return len(self.job.arguments)


class Lane:
    """Waiting jobs in order, and in order for each revision."""

    def __init__(self) -> None:
        self.jobs = 0
        self.bytes = 0
        self._order: OrderedDict[int, Waiting] = OrderedDict()
        self._of: dict[Revision, deque[Waiting]] = {}

    @property
    def head(self) -> Waiting | None:
        return next(iter(self._order.values()), None)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._order.values())

    def first_of(self, revision: Revision) -> Waiting | None:
        of = self._of.get(revision)
        return of[0] if of else None

    def add(self, waiting: Waiting) -> None:
        self._order[id(waiting)] = waiting
        self._of.setdefault(waiting.revision, deque()).append(waiting)
        self._count(1, waiting.size)

    def add_first(self, waiting: Waiting) -> None:
        self._order[id(waiting)] = waiting
        self._order.move_to_end(id(waiting), last=False)
        self._of.setdefault(waiting.revision, deque()).appendleft(waiting)
        self._count(1, waiting.size)

    def take(self, waiting: Waiting) -> None:
        """Remove the head, or the first of its revision."""
        del self._order[id(waiting)]
        of = self._of[waiting.revision]
        of.popleft()
        if not of:
            del self._of[waiting.revision]
        self._count(-1, -waiting.size)

    def clear(self) -> list[Waiting]:
        found = list(self._order.values())
        self._order.clear()
        self._of.clear()
        self._count(-self.jobs, -self.bytes)
        return found

    def _count(self, jobs: int, size: int) -> None:
        self.jobs += jobs
        self.bytes += size


class Queue:
    """Both lanes; `jobs` and `bytes` are what waits in all."""

    def __init__(self, *, jobs_max: int, bytes_max: int) -> None:
        self.blocking = Lane()
        self.others = Lane()
        self._jobs_max = jobs_max
        self._bytes_max = bytes_max
        self._in_a_row = 0

    @property
    def jobs(self) -> int:
        return self.blocking.jobs + self.others.jobs

    @property
    def bytes(self) -> int:
        return self.blocking.bytes + self.others.bytes

    def add(self, waiting: Waiting) -> None:
        """Put it last in its lane.

        Raises:
            Unavailable: the queue, or the others' half of it, is full.
        """
        self._check_room(waiting)
        self._lane(waiting).add(waiting)

    def put_back(self, waiting: Waiting) -> None:
        """Put one that was taken before first again; never refused."""
        self._lane(waiting).add_first(waiting)

    def head(self) -> Waiting | None:
        blocking, others = self.blocking, self.others
        if blocking_next(
            blocking=blocking.jobs > 0,
            others=others.jobs > 0,
            in_a_row=self._in_a_row,
        ):
            return blocking.head
        return others.head

    def first_of(self, revision: Revision) -> Waiting | None:
        """The first that a sandbox of `revision` could run, blocking ones first."""
        return self.blocking.first_of(revision) or self.others.first_of(revision)

    def take_head(self, head: Waiting) -> None:
        """Remove the head; it has had its turn."""
        self._in_a_row = self._in_a_row + 1 if head.job.blocking else 0
        self._lane(head).take(head)

    def take_overtaker(self, waiting: Waiting) -> None:
        """Remove one that goes before the head: turns stay as they are."""
        self._lane(waiting).take(waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return chain(self.blocking, self.others)

    def clear(self) -> list[Waiting]:
        return [*self.blocking.clear(), *self.others.clear()]

    def _lane(self, waiting: Waiting) -> Lane:
        return self.blocking if waiting.job.blocking else self.others

    def _check_room(self, waiting: Waiting) -> None:
        if self.jobs >= self._jobs_max:
            raise Unavailable("the queue is full")
        if self.bytes + waiting.size > self._bytes_max:
            raise Unavailable("the queue's memory is full")
        if not waiting.job.blocking and self._others_are_full(waiting):
            raise Unavailable("the queue's share of non-blocking jobs is full")

    def _others_are_full(self, waiting: Waiting) -> bool:
        others = self.others
        return (
            others.jobs * 2 >= self._jobs_max
            or (others.bytes + waiting.size) * 2 > self._bytes_max
        )
