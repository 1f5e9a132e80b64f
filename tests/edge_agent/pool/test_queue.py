"""Two lanes, FIFO each, bounded in jobs and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Job
from edge_agent.pool.queue import Queue, Waiting

MakeJob = Callable[..., Job]
Make = Callable[..., Waiting]


@pytest.fixture
def waiting(make_job: MakeJob) -> Iterator[Make]:
    loop = asyncio.new_event_loop()

    def make(name: str = "hello", **given: object) -> Waiting:
        job = make_job(name, **given)
        return Waiting(job, job.revision, loop.create_future())

    yield make
    loop.close()


def take_all(queue: Queue) -> list[Waiting]:
    taken = []
    while (head := queue.head()) is not None:
        queue.take_head(head)
        taken.append(head)
    return taken


def test_each_lane_is_first_in_first_out(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=10_000)
    jobs = [waiting(str(n % 2), blocking=n < 5) for n in range(10)]
    for each in jobs:
        queue.add(each)
    taken = take_all(queue)
    assert [w for w in taken if w.job.blocking] == jobs[:5]
    assert [w for w in taken if not w.job.blocking] == jobs[5:]
    assert (queue.jobs, queue.bytes) == (0, 0)


def test_one_of_the_others_goes_after_three_blocking_ones(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=10_000)
    for _ in range(5):
        queue.add(waiting(blocking=False))
    for _ in range(6):
        queue.add(waiting(blocking=True))
    order = "".join("b" if w.job.blocking else "o" for w in take_all(queue))
    assert order == "bbbobbboooo"


def test_a_sandbox_finds_the_first_job_of_its_revision(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=10_000)
    head, event, call = waiting("a"), waiting("b"), waiting("b", blocking=True)
    for each in (head, event, call, waiting("b")):
        queue.add(each)
    assert queue.first_of(head.revision) is head
    assert queue.first_of(event.revision) is call
    queue.take_overtaker(call)
    assert queue.first_of(event.revision) is event
    assert queue.first_of(waiting("c").revision) is None


def test_who_overtakes_takes_nobodys_turn(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=10_000)
    for _ in range(3):
        queue.add(waiting(blocking=True))
    head, overtaker = waiting("a"), waiting("b")
    queue.add(head)
    queue.add(overtaker)
    for _ in range(3):
        queue.take_head(queue.head() or head)
    queue.add(waiting(blocking=True))
    assert queue.head() is head
    queue.take_overtaker(overtaker)
    assert queue.head() is head


def test_one_that_is_put_back_is_first_again(waiting: Make) -> None:
    queue = Queue(jobs_max=2, bytes_max=10_000)
    first, second = waiting("a", blocking=True), waiting("a", blocking=True)
    queue.add(first)
    queue.take_head(first)
    queue.add(second)
    queue.add(waiting("b", blocking=True))
    queue.put_back(first)  # more than it may hold, but it was accepted before
    assert queue.head() is first
    assert queue.first_of(second.revision) is first
    assert queue.jobs == 3


def test_a_full_queue_refuses(waiting: Make) -> None:
    queue = Queue(jobs_max=4, bytes_max=10_000)
    for _ in range(4):
        queue.add(waiting(blocking=True))
    with pytest.raises(Unavailable) as raised:
        queue.add(waiting(blocking=True))
    assert raised.value.reason == "the queue is full"
    assert queue.jobs == 4


def test_a_queue_full_of_bytes_refuses(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=1000)
    queue.add(waiting(arguments=b"x" * 900, blocking=True))
    queue.add(waiting(arguments=b"x" * 100, blocking=True))
    with pytest.raises(Unavailable):
        queue.add(waiting(arguments=b"x", blocking=True))
    assert queue.bytes == 1000


def test_the_others_fill_half_and_leave_the_rest_to_who_waits(waiting: Make) -> None:
    queue = Queue(jobs_max=4, bytes_max=1000)
    queue.add(waiting())
    queue.add(waiting())
    with pytest.raises(Unavailable):
        queue.add(waiting())
    queue.add(waiting(blocking=True))
    queue.add(waiting(blocking=True))
    assert (queue.blocking.jobs, queue.others.jobs) == (2, 2)


def test_the_others_fill_half_of_the_bytes(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=1000)
    queue.add(waiting(arguments=b"x" * 400))
    with pytest.raises(Unavailable):
        queue.add(waiting(arguments=b"x" * 101))
    queue.add(waiting(arguments=b"x" * 600, blocking=True))


def test_a_cleared_queue_is_empty(waiting: Make) -> None:
    queue = Queue(jobs_max=100, bytes_max=1000)
    call, event = waiting(blocking=True), waiting()
    queue.add(event)
    queue.add(call)
    assert queue.clear() == [call, event]
    assert (queue.jobs, queue.bytes, queue.head()) == (0, 0, None)
    assert queue.first_of(call.revision) is None
