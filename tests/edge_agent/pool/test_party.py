"""C49, D6: actions with `limits.concurrency` > 1 share sandboxes; the pool's part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Answer, Cause, Gone, StartKind
from edge_agent.sandbox.base import Ran

if TYPE_CHECKING:
    from edge_agent.model.jobs import Finished
    from tests.edge_agent.pool.conftest import House, Open

AGREED = Answer(b'{"ok":true,"concurrent":true}')


@pytest.fixture
async def house(open_pool: Open) -> AsyncIterator[House]:
    house = await open_pool(memory_mb=512)
    house.factory.said_to_init = AGREED
    house.factory.hold_runs = True
    yield house
    for sandbox in house.sandboxes:
        while sandbox.busy:
            sandbox.release()


def submit(
    house: House, name: str = "hello", *, at_once: int = 3, **more: Any
) -> asyncio.Future[Finished]:
    return house.submit(name, limits={"concurrency": at_once}, **more)


async def test_those_who_come_while_it_is_made_board_it(house: House) -> None:
    house.factory.hold_creates = True
    jobs = [submit(house) for _ in range(4)]
    await house.settle()
    assert len(house.factory.asked("create")) == 2  # three seats, and one more

    house.factory.release_creates()
    await house.settle()
    first, second = house.sandboxes
    assert [len(house.factory.asked(w)) for w in ("init", "run")] == [2, 4]
    for _ in range(3):
        first.release()
    second.release()
    done = await asyncio.gather(*jobs)
    assert [f.start for f in done].count(StartKind.COLD) == 2
    assert [f.start for f in done].count(StartKind.WARM) == 2


async def test_it_counts_once_and_takes_one_slot(house: House) -> None:
    jobs = [submit(house) for _ in range(3)]
    await house.settle()
    view = house.pool.view()
    assert (view.used_mb, view.active) == (256, 3)
    assert house.states() == {"running": 1}
    assert house.pool.free_slots() == 1
    assert len(house.pool.in_flight()) == 3
    for _ in jobs:
        house.sandboxes[0].release()
    await asyncio.gather(*jobs)
    assert house.pool.free_slots() == 2
    assert house.states() == {"ready": 1}


async def test_c15_one_that_fails_leaves_the_others_to_end(house: House) -> None:
    late, fine, other = (submit(house) for _ in range(3))
    await house.settle()
    sandbox = house.sandboxes[0]
    sandbox._waiting[0][0].set_result(Ran(Gone(Cause.TIMED_OUT)))
    sandbox._waiting.pop(0)
    await house.settle()
    assert (await late).timed_out
    assert not sandbox.destroyed

    again = submit(house)
    await house.settle()
    assert len(house.sandboxes) == 2
    sandbox.release()
    await house.settle()
    assert not sandbox.destroyed
    sandbox.release()
    await house.settle()
    assert (await fine).response.success
    assert (await other).response.success
    assert sandbox.destroyed
    house.sandboxes[1].release()
    assert (await again).response.success
    assert house.pool.view().used_mb == 256


@pytest.mark.parametrize("host_fails", [True, False])
async def test_d8_a_developer_error_ends_it_whichever_seat_had_it(
    house: House, host_fails: bool
) -> None:
    jobs = [submit(house) for _ in range(2)]
    await house.settle()
    sandbox = house.sandboxes[0]
    failed = Answer(b'{"error":"no"}', ok=False)
    sandbox.release(failed if host_fails else None)
    await house.settle()
    sandbox.release(None if host_fails else failed)
    await asyncio.gather(*jobs)
    await house.settle()
    assert sandbox.destroyed
    assert house.pool.view().used_mb == 0
    assert house.states() == {}


async def test_c12_a_crash_ends_all_that_run_in_it(house: House) -> None:
    jobs = [submit(house) for _ in range(3)]
    await house.settle()
    house.sandboxes[0].die()
    for finished in await asyncio.gather(*jobs):
        assert "exited unexpectedly" in bytes(finished.response.result).decode()
    await house.settle()
    assert house.pool.view().used_mb == 0


async def test_one_that_dies_idle_is_gone_with_all_seats(house: House) -> None:
    job = submit(house)
    await house.settle()
    house.sandboxes[0].release()
    await job
    house.sandboxes[0].die()
    await house.settle()
    assert house.states() == {}
    again = submit(house)
    await house.settle()
    house.sandboxes[1].release()
    assert (await again).start is StartKind.COLD


async def test_it_is_evicted_only_when_all_seats_are_idle(house: House) -> None:
    busy = [submit(house) for _ in range(2)]
    await house.settle()
    first = house.sandboxes[0]
    first.release()
    other = house.submit("other", memory=512)
    await house.settle()
    assert not first.destroyed
    first.release()
    await asyncio.gather(*busy)
    await house.settle()
    assert first.destroyed
    house.sandboxes[1].release()
    assert (await other).response.success


async def test_one_that_does_not_agree_runs_one_at_a_time(house: House) -> None:
    house.factory.said_to_init = Answer(b'{"ok":true}')
    jobs = [submit(house) for _ in range(3)]
    await house.settle()
    for _ in range(3):
        for sandbox in house.sandboxes:
            if sandbox.busy:
                sandbox.release()
        await house.settle()
    assert all(f.response.success for f in await asyncio.gather(*jobs))
    assert len(house.sandboxes) == 2


async def test_a_failed_init_is_each_ones_own(house: House) -> None:
    house.factory.said_to_init = Answer(b'{"error":"broken"}', ok=False)
    jobs = [submit(house) for _ in range(3)]
    for finished in await asyncio.wait_for(asyncio.gather(*jobs), 5):
        assert b"broken" in bytes(finished.response.result)


async def test_who_has_boarded_one_that_cannot_be_made_is_told_too(
    house: House,
) -> None:
    house.factory.fail_creates = 9
    jobs = [submit(house) for _ in range(3)]
    for finished in await asyncio.wait_for(asyncio.gather(*jobs), 5):
        assert b"Failed to provision" in bytes(finished.response.result)


async def test_an_idle_one_expires_after_its_last_seat(open_pool: Open) -> None:
    house = await open_pool(memory_mb=512, idle_s=10)
    house.factory.said_to_init = AGREED
    await asyncio.gather(*(submit(house) for _ in range(3)))
    house.clock.pass_ms(9_000)
    await submit(house)
    house.clock.pass_ms(9_000)
    house.pool._expire()
    assert house.states() == {"ready": 1}
    house.clock.pass_ms(2_000)
    house.pool._expire()
    await house.settle()
    assert house.states() == {}


async def test_closing_ends_what_runs_and_what_has_boarded(house: House) -> None:
    jobs = [submit(house) for _ in range(3)]
    await house.settle()
    house.factory.hold_creates = True
    boarded = [submit(house, "other") for _ in range(2)]
    await house.settle()
    house.factory.release_creates()
    await house.pool.close()
    assert all(job.cancelled() for job in (*jobs, *boarded))
    assert all(sandbox.destroyed for sandbox in house.sandboxes)


async def test_those_of_retired_ones_run_on_and_later_ones_run_anew(
    house: House,
) -> None:
    jobs = [submit(house) for _ in range(2)]
    await house.settle()
    house.pool.retire_all()
    later = submit(house)
    await house.settle()
    assert len(house.sandboxes) == 2
    for sandbox in house.sandboxes:
        while sandbox.busy:
            sandbox.release()
    assert all(f.response.success for f in await asyncio.gather(*jobs, later))
    await house.settle()
    assert house.sandboxes[0].destroyed
