"""What a fleet does now: every node's state, and the activations that end.

One owner of both: tasks that ask each node once a second and follow its stream. Whoever
looks, a page or a terminal, subscribes; a looker that is slow loses the oldest news, is
told how many, and holds nobody up. Of an activation only a row is kept: its result and
logs, however big, stay on the node until somebody asks for them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from controller.fleet.client import Client
from controller.fleet.follow import follow
from controller.fleet.status import NodeStatus, fleet_status
from controller.fleet.transport import OpenWhiskError
from edge_agent.model.activations import ActivationRecord

PERIOD_S = 1.0
AGAIN_S = 2.0
#: Activations that are kept, and news that one looker may be behind.
KEPT, BEHIND = 500, 1000
RATE_OVER_S = 10.0
_ENDS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    """An activation that has ended; times in ms, `start_ms` since 1970.

    `init_ms` of None: it was warm. `duration_ms` of None: a trigger.
    """

    node: str
    id: str
    action: str
    status: str
    start_ms: int
    duration_ms: int | None
    wait_ms: int | None
    init_ms: int | None
    cause: str | None


def row_of(node: str, record: ActivationRecord) -> Row:
    known = {each.key: each.value for each in record.annotations}
    path = known.get("path")
    named = path.partition("/")[2] if isinstance(path, str) else record.name
    duration = record.duration if isinstance(record.duration, int) else None
    cause = record.cause if isinstance(record.cause, str) else None
    return Row(
        node=node,
        id=record.activation_id,
        action=named or record.name,
        status=record.response.code.text,
        start_ms=record.start,
        duration_ms=duration,
        wait_ms=known.get("waitTime"),
        init_ms=known.get("initTime"),
        cause=cause,
    )


@dataclass(slots=True)
class Looker:
    """News of one looker: `("node", NodeStatus)` or `("activation", Row)`."""

    news: asyncio.Queue[tuple[str, Any]] = field(
        default_factory=lambda: asyncio.Queue(BEHIND)
    )
    missed: int = 0

    def tell(self, kind: str, what: Any) -> None:
        if self.news.full():
            self.news.get_nowait()
            self.missed += 1
        self.news.put_nowait((kind, what))


class Live:
    """A fleet's present; `run` keeps it until it is cancelled."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = {each.target.name or each.target.url: each for each in clients}
        self.nodes: dict[str, NodeStatus] = {}
        self.rows: deque[Row] = deque(maxlen=KEPT)
        self._ends: dict[str, deque[float]] = {
            name: deque(maxlen=_ENDS_KEPT) for name in self.clients
        }
        self._lookers: list[Looker] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, client in self.clients.items():
                group.create_task(self._ask(client), name=f"ask {name}")
                group.create_task(self._follow(name, client), name=f"follow {name}")

    def rate_per_s(self, node: str) -> float:
        """Activations that ended, over the last ten seconds."""
        ends, since = self._ends[node], time.monotonic() - RATE_OVER_S
        while ends and ends[0] < since:
            ends.popleft()
        return len(ends) / RATE_OVER_S

    @contextmanager
    def looking(self) -> Iterator[Looker]:
        looker = Looker()
        self._lookers.append(looker)
        try:
            yield looker
        finally:
            self._lookers.remove(looker)

    async def refresh(self) -> None:
        """Ask every node once."""
        for status in await fleet_status(list(self.clients.values())):
            self._note(status)

    async def _ask(self, client: Client) -> None:
        while True:
            (status,) = await fleet_status([client])
            self._note(status)
            await asyncio.sleep(PERIOD_S)

    def _note(self, status: NodeStatus) -> None:
        self.nodes[status.name] = status
        self._tell("node", status)

    async def _follow(self, name: str, client: Client) -> None:
        while True:
            try:
                async for record in follow(client):
                    self._ended(row_of(name, record))
            except OpenWhiskError:
                pass  # its status says what is wrong
            await asyncio.sleep(AGAIN_S)

    def _ended(self, row: Row) -> None:
        self.rows.append(row)
        self._ends[row.node].append(time.monotonic())
        self._tell("activation", row)

    def _tell(self, kind: str, what: Any) -> None:
        for looker in self._lookers:
            looker.tell(kind, what)
