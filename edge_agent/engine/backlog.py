"""What is accepted and has not come to a good end: to be seen, replayed, dropped.

A replay is a new activation of the same arguments, with the annotation `replayOf`: the
record under the old id stands, and each id keeps exactly one. The dead letter goes in
the transaction that accepts the new row. What is dropped before it ran gets a record
that says so, because somebody may have been told its id.

`scope` is the namespace whose events are meant, None for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from msgspec import UNSET
from msgspec.structs import replace

from edge_agent.engine.delivery import Delivery
from edge_agent.engine.rows import unrun_record
from edge_agent.model.activations import ActivationRecord, Status
from edge_agent.model.backlog import (
    AttemptView,
    EventItem,
    EventPage,
    EventView,
    Replayed,
    Swept,
)
from edge_agent.model.delivery import Attempt, Reason
from edge_agent.model.errors import (
    BadRequest,
    Conflict,
    NotFound,
    RequestError,
    Unavailable,
)
from edge_agent.model.names import new_activation_id
from edge_agent.store.dead_letters import Filed
from edge_agent.store.inbox import Accepted, InboxRow
from edge_agent.store.store import Store

#: How many dead letters are read, and replayed or dropped, at a time.
SWEEP_ROWS = 100
_DROPPED = "The event was dropped before it ran."


class Acceptor(Protocol):
    """What this needs of the engine."""

    delivery: Delivery

    async def accept(
        self, accepted: list[Accepted], *, replayed: int | None = None
    ) -> None: ...

    def settle(self, record: ActivationRecord, row: InboxRow) -> None: ...

    def tell(self, event: str, accepted: Accepted) -> None: ...


class Backlog:
    def __init__(
        self, store: Store, engine: Acceptor, *, wall_ms: Callable[[], int]
    ) -> None:
        self._inbox = store.inbox
        self._letters = store.dead_letters
        self._engine = engine
        self._wall_ms = wall_ms
        #: Letters that are being replayed or dropped now.
        self._taken: set[int] = set()

    async def page(
        self, scope: str | None, *, state: str, after: str, limit: int
    ) -> EventPage:
        """Dead letters, then what waits, each oldest first; `state` may be one of them.

        Raises:
            BadRequest: `after` is none that a page gave.
        """
        part, seq = _read_cursor(after or ("dead" if state != "waiting" else "waiting"))
        found: list[EventItem] = []
        if part == "dead":
            letters = await self._letters.page(scope, after=seq, rows=limit)
            found = [*map(_dead_item, letters)]
            if len(letters) == limit:
                return EventPage(events=found, after=f"dead.{letters[-1].seq}")
            if state == "dead":
                return EventPage(events=found)
            seq = 0
        await self._inbox.flush()
        rows = await self._inbox.page(scope, after=seq, rows=limit - len(found))
        found += [self._item(row) for row in rows]
        if len(found) < limit:
            return EventPage(events=found)
        return EventPage(events=found, after=f"waiting.{rows[-1].seq if rows else seq}")

    async def view(self, scope: str | None, activation_id: str) -> EventView:
        """Raises NotFound when it has ended well, or never was, or is not theirs."""
        filed = await self._letters.find(activation_id)
        if filed is not None and scope in (None, filed.letter.accepted.namespace):
            letter = filed.letter
            return _view(_dead_item(filed), letter.accepted, letter.attempts)
        row = await self._row(scope, activation_id)
        return _view(self._item(row), row.accepted, row.attempts)

    async def replay(self, scope: str | None, activation_id: str) -> Replayed:
        """Run a dead letter again; returns when that is on disk.

        Raises:
            NotFound: there is no such event. Conflict: it is no dead letter, or no
                more. Unavailable: it stays a dead letter.
        """
        return await self._replay(await self._letter(scope, activation_id))

    async def drop(self, scope: str | None, activation_id: str) -> None:
        """Give an event up, dead or waiting.

        Raises:
            NotFound: there is no such event. Conflict: it runs now.
        """
        filed = await self._letters.find(activation_id)
        if filed is not None and scope in (None, filed.letter.accepted.namespace):
            await self._drop(filed)
            return
        with self._engine.delivery.reading():
            row = await self._row(scope, activation_id)
            if not self._engine.delivery.drop(row):
                raise Conflict("The event runs now.")
        status = Status.APPLICATION_ERROR
        record = unrun_record(row, status, _DROPPED, now_ms=self._wall_ms())
        self._engine.settle(record, row)
        self._engine.tell("dropped", row.accepted)
        self._engine.delivery.pump()
        await self._inbox.flush()

    async def replay_all(self, scope: str | None, reason: Reason | None) -> Swept:
        """Every dead letter of now, as far as there is room."""
        done: list[Replayed] = []
        async for piece in self._sweep(scope, reason):
            tasks = (self._replay(filed) for filed in piece)
            for one in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(one, Replayed):
                    done.append(one)
                elif isinstance(one, Unavailable):
                    return Swept(replayed=done, error=f"no room: {one.reason}")
                elif not isinstance(one, RequestError):
                    raise one
        return Swept(replayed=done)

    async def drop_all(self, scope: str | None, reason: Reason | None) -> Swept:
        """Every dead letter of now; what waits stays."""
        dropped = 0
        async for piece in self._sweep(scope, reason):
            tasks = (self._drop(filed) for filed in piece)
            for one in await asyncio.gather(*tasks, return_exceptions=True):
                if one is None:
                    dropped += 1
                elif not isinstance(one, RequestError):
                    raise one
        return Swept(dropped=dropped)

    async def _sweep(
        self, scope: str | None, reason: Reason | None
    ) -> AsyncIterator[list[Filed]]:
        """Dead letters in pieces; those that come meanwhile are not among them."""
        seq, last = 0, self._letters.newest
        while seq < last:
            piece = await self._letters.page(scope, after=seq, rows=SWEEP_ROWS)
            if not piece:
                return
            seq = piece[-1].seq
            yield [
                filed
                for filed in piece
                if filed.seq <= last and reason in (None, filed.letter.reason)
            ]

    async def _replay(self, filed: Filed) -> Replayed:
        self._take(filed)
        old = filed.letter.accepted
        again = replace(
            old,
            activation_id=new_activation_id(),
            accepted_ms=self._wall_ms(),
            replay_of=old.activation_id,
        )
        try:
            await self._engine.accept([again], replayed=filed.seq)
            self._letters.removed(filed)
        finally:
            self._taken.discard(filed.seq)
        self._engine.tell("replayed", again)
        return Replayed(replay_of=old.activation_id, activation_id=again.activation_id)

    async def _drop(self, filed: Filed) -> None:
        self._take(filed)
        try:
            await self._letters.drop(filed)
        finally:
            self._taken.discard(filed.seq)
        self._engine.tell("dropped", filed.letter.accepted)

    def _take(self, filed: Filed) -> None:
        """What is done to a letter is done once."""
        if filed.seq in self._taken or not self._letters.holds(filed):
            raise Conflict("The event is a dead letter no more.")
        self._taken.add(filed.seq)

    async def _letter(self, scope: str | None, activation_id: str) -> Filed:
        filed = await self._letters.find(activation_id)
        if filed is not None and scope in (None, filed.letter.accepted.namespace):
            return filed
        await self._row(scope, activation_id)
        raise Conflict("The event is no dead letter: it is still to run.")

    async def _row(self, scope: str | None, activation_id: str) -> InboxRow:
        await self._inbox.flush()
        row = await self._inbox.find(activation_id)
        if row is None or scope not in (None, row.accepted.namespace):
            raise NotFound
        return row

    def _item(self, row: InboxRow) -> EventItem:
        running = self._engine.delivery.runs(row.seq)
        delayed = row.due_ms > 0 and not running
        state = "running" if running else "delayed" if delayed else "waiting"
        item = _item(row.accepted, state, row.attempts)
        return replace(item, due=row.due_ms) if delayed else item


def _dead_item(filed: Filed) -> EventItem:
    letter = filed.letter
    item = _item(letter.accepted, "dead", letter.attempts)
    return replace(item, reason=letter.reason, died=letter.died_ms)


def _item(accepted: Accepted, state: str, attempts: tuple[Attempt, ...]) -> EventItem:
    return EventItem(
        activation_id=accepted.activation_id,
        namespace=accepted.namespace,
        action=accepted.action,
        state=state,
        accepted=accepted.accepted_ms,
        attempts=len(attempts),
        rule=accepted.rule or UNSET,
        error=attempts[-1].error or attempts[-1].status if attempts else UNSET,
    )


def _view(
    item: EventItem, accepted: Accepted, attempts: tuple[Attempt, ...]
) -> EventView:
    return EventView(
        event=item,
        arguments=accepted.arguments,
        version=accepted.version,
        transaction_id=accepted.transaction_id,
        attempts=[
            AttemptView(
                start=attempt.start_ms,
                status=attempt.status,
                error=attempt.error,
                duration=attempt.duration_ms,
            )
            for attempt in attempts
        ],
        retry=accepted.retry or UNSET,
        line=UNSET if accepted.line is None else accepted.line,
        ttl_ms=accepted.ttl_ms or UNSET,
        replay_of=accepted.replay_of or UNSET,
    )


def _read_cursor(text: str) -> tuple[str, int]:
    part, _, seq = text.partition(".")
    if part not in ("dead", "waiting") or not (seq or "0").isdecimal():
        raise BadRequest(f"'after' is not valid: {text}")
    return part, int(seq or 0)
