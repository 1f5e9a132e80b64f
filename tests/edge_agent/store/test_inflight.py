"""Marks of running rows: what a killed process leaves, and what is made of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.store.inbox import Accepted
from edge_agent.store.inflight import Inflight
from edge_agent.store.store import Store
from tests.edge_agent.store.test_inbox import accepted

MARKING = """
import os, signal, sys
from pathlib import Path
from edge_agent.store.inflight import Inflight
inflight = Inflight(Path(sys.argv[1]))
inflight.begin()
for seq in range(1, 601):
    inflight.mark(seq, 1000 + seq)
for seq in range(1, 599):
    inflight.clear(seq)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_marks_survive_kill_9_and_no_others_are_left(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    done = subprocess.run([sys.executable, "-c", MARKING, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    inflight = Inflight(path)
    assert sorted(inflight.died) == [(599, 1599), (600, 1600)]
    inflight.begin()
    inflight.close()


def test_an_orderly_end_leaves_no_marks(tmp_path: Path) -> None:
    inflight = Inflight(tmp_path / "inflight")
    inflight.begin()
    inflight.mark(7, 1)
    inflight.close()
    following = Inflight(tmp_path / "inflight")
    assert following.died == []
    following.close()


def test_a_file_that_is_not_ours_marks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "inflight"
    path.write_bytes(os.urandom(100))
    inflight = Inflight(path)
    assert inflight.died == []
    inflight.begin()
    inflight.close()


async def test_a_death_is_counted_once_for_each_life(
    open_store: Callable[..., Store], tmp_path: Path
) -> None:
    """Killed again before the marks were forgotten: the same life is not counted."""
    mark = tmp_path / "data" / "inflight"
    async with open_store() as store:
        _, done = store.inbox.accept([accepted(1), accepted(2)])
        await done
        store.inflight.mark(1, 5)
        died_with = mark.read_bytes()
    for deaths in (1, 1):
        mark.write_bytes(died_with)
        async with open_store() as store:
            rows = await store.inbox.load_rows([1, 2], size_bytes=1 << 20)
            assert [row.deaths for row in rows] == [deaths, 0]


def test_rows_are_written_without_what_they_lack_and_old_ones_are_read() -> None:
    text = msgspec.json.encode(accepted(1))
    assert b"null" not in text
    older = text[:-1] + b',"rule":null,"result_topic":null}'
    assert msgspec.json.decode(older, type=Accepted) == accepted(1)
