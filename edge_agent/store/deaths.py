"""What the agent's last life ended in the middle of, noted once.

At start-up, before anything runs: each row that was marked as running (`inflight`) and
is still in the inbox gets an attempt that says so. It names that life, so a death in
the midst of this is not counted twice.
"""

from __future__ import annotations

import logging
import sqlite3

import msgspec

from edge_agent.model.delivery import DIED, Attempt
from edge_agent.store.inflight import Inflight

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(list[Attempt])


def count_deaths(connection: sqlite3.Connection, inflight: Inflight) -> None:
    """Note the deaths on disk, then begin a new life in the file.

    A disk that is full leaves both to the next life, and this one runs unmarked.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        for seq, start_ms in inflight.died:
            _note(connection, seq, start_ms, inflight.last_life)
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        log.warning("what the last life died of is not counted yet: %s", error)
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return
    inflight.begin()


def _note(connection: sqlite3.Connection, seq: int, start_ms: int, life: str) -> None:
    found = connection.execute(
        "SELECT a.doc FROM inbox i LEFT JOIN attempt a USING (seq) WHERE i.seq=?",
        (seq,),
    ).fetchone()
    if found is None:  # it had ended, and that was written
        return
    attempts = _decoder.decode(found[0]) if found[0] else []
    if any(attempt.life == life for attempt in attempts):
        return
    attempts.append(Attempt(start_ms=start_ms, status=DIED, life=life))
    connection.execute(
        "INSERT OR REPLACE INTO attempt VALUES (?,0,?)", (seq, _encode(attempts))
    )
