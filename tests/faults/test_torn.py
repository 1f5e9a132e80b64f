"""A power cut in the middle of a write: the log ends anywhere.

The file and its log are copied with the log cut at every 4 KiB boundary. Each copy must
open, and hold everything whose fsync had returned when the log was that long.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Raw

from edge_agent.model.activations import ActivationRecord, success
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.inbox import Accepted
from edge_agent.store.store import Store
from tests.faults.conftest import FULL

COMMITS = 150 if FULL else 40
BLOCK = 4096


def accepted(number: int) -> Accepted:
    return Accepted(
        activation_id=f"{number:032x}",
        namespace="guest",
        action="guest/a",
        version="0.0.1",
        arguments=Raw(b'{"x":"%b"}' % (b"y" * 700)),
        accepted_ms=1,
        transaction_id="t",
    )


def record(number: int) -> ActivationRecord:
    return ActivationRecord(
        namespace="guest",
        name="a",
        version="0.0.1",
        subject="guest",
        activation_id=f"{number:032x}",
        start=2_000_000_000_000 + number,
        response=success(b"{}"),
    )


@pytest.mark.timeout(300)
@pytest.mark.blocks_loop("copies files between the steps")
async def test_a_log_cut_anywhere_opens_and_keeps_what_was_promised(
    tmp_path: Path, tell: Callable[..., None]
) -> None:
    begun = time.monotonic()
    whole = tmp_path / "whole"
    promised: list[tuple[int, int]] = []  # (bytes of the log, rows told of by then)
    async with Store(whole, StoreSettings(lazy_ms=1)) as store:
        log = whole / "state.db-wal"
        base = log.stat().st_size
        for number in range(COMMITS):
            rows, kept = store.inbox.accept([accepted(number)])
            await kept
            promised.append((log.stat().st_size, number))
            if number % 2:  # what has ended is gone from the inbox, or is there still
                store.inbox.finish(rows[0], store.activations.add(record(number)))
        shutil.copytree(whole, tmp_path / "cut-source")
    source = tmp_path / "cut-source"
    size = (source / "state.db-wal").stat().st_size
    cuts = lost = 0
    for cut in range(base - base % BLOCK, size + BLOCK, BLOCK):
        folder = tmp_path / "cut"
        shutil.copytree(source, folder)
        with (folder / "state.db-wal").open("r+b") as file:
            file.truncate(min(cut, size))
        known = await _known(folder)
        told = [number for length, number in promised if length <= cut]
        lost += len(set(told) - known)
        cuts += 1
        shutil.rmtree(folder)
    tell(
        f"log cut at {cuts} places",
        sent=COMMITS,
        lost=lost,
        seconds=round(time.monotonic() - begun),
    )
    assert cuts > COMMITS // 2
    assert lost == 0


async def _known(folder: Path) -> set[int]:
    """The numbers that are in the inbox or have a record; never both."""
    async with Store(folder, StoreSettings()) as store:
        rows = await store.inbox.page(None, after=0, rows=COMMITS)
        waiting = {int(row.accepted.activation_id, 16) for row in rows}
        records = await store.activations.list("guest", limit=COMMITS)
        ended = {int(one.activation_id, 16) for one in records}
        assert not waiting & ended
        assert store.inbox.depth == len(rows)
    return waiting | ended
