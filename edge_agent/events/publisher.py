"""What is published for actions: results through the outbox, messages with a receipt.

A result's row in the outbox is deleted when the broker has acknowledged it. What the
broker refuses for good is logged, counted and deleted as well; what it refuses for now,
and what there is no room for, stays in the outbox and is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.events.base import BuiltinError, Outgoing, SourceState
from edge_agent.events.outlet import MOST_WAITING, Problem, Publication
from edge_agent.events.topics import Topic

if TYPE_CHECKING:
    from edge_agent.events.connection import Connection

#: After a refusal that may pass.
RETRY_S = 5.0
#: Rows of the outbox that are read at once.
PAGE = 500

log = logging.getLogger(__name__)


class Publisher:
    """Owns what is on its way. `find` gives the connection a message goes out by."""

    def __init__(
        self, state: SourceState, find: Callable[[Outgoing], Connection]
    ) -> None:
        self._state = state
        self._find = find
        self._queued: set[str] = set()
        self._left_behind = False
        self._resending = False
        self._group: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Send what an earlier life has left in the outbox."""
        self._group = group
        await self._resend(all_of_it=True)

    def stop(self) -> None:
        self._group = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def queued(self) -> int:
        return len(self._queued)

    def publish(self, outgoing: Outgoing) -> None:
        """Send what is, or is about to be, in the outbox; at once if it can be."""
        if outgoing.id in self._queued:
            return
        try:
            connection = self._find(outgoing)
            done = partial(self._sent, outgoing, connection)
            publication = _publication(outgoing, done)
        except BuiltinError as error:
            self._give_up(outgoing, str(error))
            return
        self._queued.add(outgoing.id)  # before: at QoS 0 it is out within `publish`
        if not connection.publish(publication):
            self._queued.discard(outgoing.id)
            self._left_behind = True
            self._send_later()

    async def send(self, outgoing: Outgoing) -> None:
        """Publish and wait for the broker's receipt; nothing is kept on disk.

        Raises:
            BuiltinError: it is refused, or there is no room.

        When it is cancelled, what was not sent yet never is.
        """
        connection = self._find(outgoing)
        answer: asyncio.Future[Problem | None]
        answer = asyncio.get_running_loop().create_future()

        def done(problem: Problem | None) -> None:
            if not answer.done():
                answer.set_result(problem)

        publication = _publication(outgoing, done)
        if not connection.publish(publication):
            raise BuiltinError("too many messages wait to be published to this broker")
        try:
            problem = await answer
        finally:
            connection.outlet.withdraw(publication)
        if problem is not None:
            raise BuiltinError(f"the broker refused the message: {problem.text}")

    def _sent(
        self, outgoing: Outgoing, connection: Connection, problem: Problem | None
    ) -> None:
        self._queued.discard(outgoing.id)
        if problem is None:
            self._state.sent(outgoing.id)
        elif problem.passing:
            if self._timer is None:
                text = "%s for %s is refused for now and sent again: %s"
                log.warning(text, outgoing.id, outgoing.topic, problem.text)
            self._send_later()
        else:
            self._give_up(outgoing, problem.text)
        if self._left_behind and connection.outlet.waiting <= MOST_WAITING // 4:
            self._start_resending(all_of_it=False)

    def _send_later(self) -> None:
        if self._timer is None and self._group is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(RETRY_S, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._start_resending(all_of_it=True)

    def _give_up(self, outgoing: Outgoing, problem: str) -> None:
        text = "result %s for %s is left out: %s"
        log.error(text, outgoing.id, outgoing.topic, problem)
        self._state.sent(outgoing.id)

    def _start_resending(self, *, all_of_it: bool) -> None:
        if self._group is not None and not self._resending:
            work = self._resend(all_of_it=all_of_it)
            self._group.create_task(work, name="mqtt outbox")

    async def _resend(self, *, all_of_it: bool) -> None:
        """Look through the outbox, a page at a time, until there is no more room.

        `all_of_it`: to its end. Behind what waits for a broker that is away there may
        be more for another one.
        """
        self._resending, self._left_behind = True, False
        after = ""
        try:
            while page := await self._state.outbox(after, most=PAGE):
                for outgoing in page:
                    self.publish(outgoing)
                after = page[-1].id
                if self._left_behind and not all_of_it:
                    return
        finally:
            self._resending = False


def _publication(
    outgoing: Outgoing, done: Callable[[Problem | None], None]
) -> Publication:
    return Publication(
        topic=str(Topic(outgoing.topic)).encode(),
        payload=outgoing.payload,
        qos=min(outgoing.qos, 1),
        retain=outgoing.retain,
        done=done,
        correlation=outgoing.correlation,
    )
