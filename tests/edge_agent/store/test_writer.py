"""The writer's promises: urgent is on disk, lazy is soon, nothing done is forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.model.errors import Unavailable
from edge_agent.store.schema import connect, prepare
from edge_agent.store.writer import Writer, _chunks

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
    await done
    assert _inbox(tmp_path) == []


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
