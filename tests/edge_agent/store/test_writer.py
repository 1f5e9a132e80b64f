"""The writer's promises: urgent is on disk, lazy is soon, nothing done is forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.model.errors import Unavailable
from edge_agent.store.batch import _chunks
from edge_agent.store.schema import connect, prepare
from edge_agent.store.writer import CROWD, SPACING_S, Writer

LAZY_S = 0.05


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    connection = await asyncio.to_thread(_database, tmp_path)
    writer = Writer(connection, lazy_s=LAZY_S)
    writer.start()
    yield writer
    await writer.close()
    connection.close()


def _database(path: Path) -> sqlite3.Connection:
    connection = connect(path / "w.db")
    prepare(connection)
    return connection


def _inbox(path: Path) -> list[tuple[int, bytes]]:
    with sqlite3.connect(path / "w.db") as connection:
        rows = connection.execute("SELECT seq, doc FROM inbox ORDER BY seq").fetchall()
    connection.close()
    return rows


async def test_urgent_work_is_in_the_file_when_its_future_is_done(
    writer: Writer, tmp_path: Path
) -> None:
    batch, done = writer.urgent()
    batch.insert("inbox", [(1, b"a", None)], 1)
    await done
    assert _inbox(tmp_path) == [(1, b"a")]


async def test_acceptances_of_one_turn_share_one_commit(writer: Writer) -> None:
    futures = []
    for seq in range(500):
        batch, done = writer.urgent()
        batch.insert("inbox", [(seq, b"x", None)], 1)
        futures.append(done)
    await asyncio.gather(*futures)
    assert writer.commits == 1


async def test_lazy_work_is_written_without_anyone_asking(
    writer: Writer, tmp_path: Path
) -> None:
    writer.lazy().insert("inbox", [(1, b"a", None)], 1)
    assert _inbox(tmp_path) == []
    await asyncio.sleep(4 * LAZY_S)
    assert _inbox(tmp_path) == [(1, b"a")]


async def test_flush_makes_lazy_work_readable(writer: Writer, tmp_path: Path) -> None:
    writer.lazy().insert("inbox", [(1, b"a", None)], 1)
    await writer.flush()
    assert _inbox(tmp_path) == [(1, b"a")]


async def test_a_row_inserted_urgently_and_deleted_lazily_in_one_flight_is_gone(
    writer: Writer, tmp_path: Path
) -> None:
    batch, done = writer.urgent()
    batch.insert("inbox", [(1, b"a", None)], 1)
    writer.lazy().delete("inbox", 1)
    await writer.flush()
    assert done.done()
    assert writer.commits == 1
    assert _inbox(tmp_path) == []


async def test_urgent_work_does_not_take_the_lazy_along(
    writer: Writer, tmp_path: Path
) -> None:
    writer.lazy().insert("inbox", [(1, b"lazy", None)], 4)
    batch, done = writer.urgent()
    batch.insert("inbox", [(2, b"urgent", None)], 6)
    await done
    assert _inbox(tmp_path) == [(2, b"urgent")]
    await writer.flush()
    assert _inbox(tmp_path) == [(1, b"lazy"), (2, b"urgent")]


async def test_much_lazy_work_does_not_wait(tmp_path: Path) -> None:
    connection = await asyncio.to_thread(_database, tmp_path)
    writer = Writer(connection, lazy_s=60.0)
    writer.start()
    for _ in range(2):
        writer.lazy().insert("inbox", [(1, bytes(5 << 20), None)], 5 << 20)
    async with asyncio.timeout(5):
        while not writer.commits:
            await asyncio.sleep(0.01)
    await writer.close()
    connection.close()


async def test_in_a_crowd_the_patient_wait_for_more(writer: Writer) -> None:
    loop = asyncio.get_running_loop()
    crowd = [writer.urgent(patient=True)[1] for _ in range(CROWD)]
    began = loop.time()
    await asyncio.gather(*crowd)
    _, patient = writer.urgent(patient=True)
    await patient
    assert loop.time() - began >= 0.8 * SPACING_S

    crowd = [writer.urgent(patient=True)[1] for _ in range(CROWD)]
    await asyncio.gather(*crowd)
    _, patient = writer.urgent(patient=True)
    _, hurried = writer.urgent()
    await hurried
    assert patient.done()
    assert writer.commits == 4


async def test_one_patient_acceptance_after_another_waits_for_nothing(
    writer: Writer,
) -> None:
    writer._not_before = 0.0
    for _ in range(3):
        _, patient = writer.urgent(patient=True)
        await patient
        assert writer._not_before == 0.0


async def test_a_failed_commit_refuses_the_urgent_and_keeps_the_lazy(
    writer: Writer, tmp_path: Path
) -> None:
    writer.lazy().insert("inbox", [(1, b"kept", None)], 4)
    batch, done = writer.urgent()
    batch.statements.append(("INSERT INTO nowhere VALUES (1)", ()))
    with pytest.raises(Unavailable):
        await done
    assert writer.failure is not None
    assert writer.pending_bytes == 4
    await writer.flush()
    assert _inbox(tmp_path) == [(1, b"kept")]
    assert writer.failure is None


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    connection = await asyncio.to_thread(_database, tmp_path)
    writer = Writer(connection, lazy_s=60.0)
    writer.start()
    writer.lazy().insert("inbox", [(1, b"a", None)], 1)
    await writer.close()
    connection.close()
    assert _inbox(tmp_path) == [(1, b"a")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 128, 129, 1000])
def test_chunks_hold_every_item_once_in_order(count: int) -> None:
    items = list(range(count))
    chunks = list(_chunks(items))
    assert [item for chunk in chunks for item in chunk] == items
    assert all(len(chunk) & (len(chunk) - 1) == 0 for chunk in chunks)
