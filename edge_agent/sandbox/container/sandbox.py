"""One container sandbox: its conversation with the runtime in it, its logs and its end.

    started --init--> ready --run--> ready ...
    any of them --death, time out, destroy--> dying --the engine says so--> exited

The runtime may take time to open its port, so connecting is tried until the time is out
(C6). A connection is used again only while it is fresh, since runtimes close idle ones
(Node.js after 5 s) and a request that meets the close may or may not have been read.

An answer is told when its logs are complete (see `output`). A runtime that writes no
sentinel is waited for once as long as the contract says, later hardly: then its image
is one that writes none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from edge_agent.model.activations import Answer, Cause, Gone, Said
from edge_agent.model.limits import MEBIBYTE
from edge_agent.model.soon import Soon
from edge_agent.sandbox.base import (
    InitRequest,
    Ran,
    RunRequest,
    SandboxError,
    SandboxSpec,
)
from edge_agent.sandbox.container.engine import Engine, EngineError
from edge_agent.sandbox.container.http import Connection, HttpAnswer
from edge_agent.sandbox.container.output import Output
from edge_agent.sandbox.container.reach import PORT, Reach
from edge_agent.sandbox.logs import STDERR, LogCollector, stamp

LEVEL = "container"
CONNECT_PAUSE_S = 0.05
FRESH_S = 1.0
#: While output is being dropped it is read at this pace, so that a flood costs little.
DROP_PAUSE_S = 0.005
#: The sentinel is waited for so long after the last output, and in all (C24).
QUIET_S, QUIET_ONCE_MISSED_S = 2.0, 0.05
LOGS_LEAST_MB, LOGS_S_PER_MB = 5, 2.0
#: How long a container may live on after its connection was lost, or it was killed.
CLOSING_GRACE_S, KILL_GRACE_S = 2.0, 5.0
LAST_WORDS_S = 1.0
DESTROY_TIMEOUT_S = 20.0
OK, REDIRECTS, BUSY = 200, 300, 503
INCOMPLETE = "There was an issue while collecting your logs. Data might be missing."
UNEXPECTED = (
    "The action did not initialize or run as expected. Log data might be missing."
)

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class ContainerSandbox:
    """A Sandbox whose code runs in a container; `attach` it before it is started."""

    level = LEVEL

    def __init__(
        self,
        sandbox_id: str,
        spec: SandboxSpec,
        *,
        engine: Engine,
        container: str,
        response_limit: int,
        on_destroyed: Callable[[str], None],
    ) -> None:
        self.id = sandbox_id
        self.spec = spec
        self.container = container
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._engine = engine
        self._reach: Reach | None = None
        self._limit = response_limit
        self._on_destroyed = on_destroyed
        self._logs = LogCollector()
        self._output = Output(self._logs)
        self._connection: Connection | None = None
        self._used = 0.0
        self._waiting: Soon[Ran] | None = None
        self._said: Said | None = None
        self._initializing = False
        self._logs_bytes = 0
        self._quiet_s = QUIET_S
        self._heard = self._logs_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._cause: Cause | None = None
        self._dying = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None]
        self._removing: asyncio.Task[None] | None = None
        self._destroyed: asyncio.Future[None] | None = None

    async def attach(self) -> None:
        """Listen to what it writes, from the first byte on."""
        attached: asyncio.Future[None] = self._loop.create_future()
        self._listening = self._spawn(self._listen(attached), "output")
        await attached

    def begin(self, reach: Reach) -> None:
        """It has been started, and can be reached so."""
        self._reach = reach
        self._spawn(self._await_end(), "end")

    # What the pool asks

    def init(
        self, request: InitRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        self._initializing = True
        return self._ask("/init", _init_body(request), timeout_s, logs_bytes)

    def run(
        self, request: RunRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        self._initializing = False
        return self._ask("/run", _run_body(request), timeout_s, logs_bytes)

    def exceeded(self) -> str:
        """What an engine does not tell cannot be told."""
        return ""

    async def destroy(self) -> None:
        if self._destroyed is not None:
            await asyncio.shield(self._destroyed)
            return
        self._destroyed = self._loop.create_future()
        try:
            async with asyncio.timeout(DESTROY_TIMEOUT_S):
                await self._kill(Cause.EXITED)
                if self._reach is not None:
                    await asyncio.wait([self.exited])
        except (EngineError, TimeoutError) as error:
            _log.error("container %s may be left: %s", self.container, error)
        finally:
            self._let_go()
            self._on_destroyed(self.id)
            self._destroyed.set_result(None)

    # Asking

    def _ask(
        self, path: str, body: bytes, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        if self._dying or self.exited.done():
            gone: asyncio.Future[Ran] = self._loop.create_future()
            gone.set_result(Ran(Gone(Cause.EXITED, unread=True)))
            return gone
        future: Soon[Ran] = Soon(loop=self._loop)
        self._waiting = future
        self._logs_bytes = logs_bytes
        self._logs.start(logs_bytes)
        self._output.begin()
        self._timer = self._loop.call_later(timeout_s, self._kill, Cause.TIMED_OUT)
        connection = self._connection
        if connection and not connection.closed and self._is_fresh():
            self._send(connection, path, body)
        else:
            self._spawn(self._connect_and_send(path, body), "connect")
        return future

    def _is_fresh(self) -> bool:
        return self._loop.time() - self._used < FRESH_S

    def _send(self, connection: Connection, path: str, body: bytes) -> None:
        connection.ask(path, body, limit=self._limit, tell=self._on_answer)

    async def _connect_and_send(self, path: str, body: bytes) -> None:
        """Tried again until the container is no more or its time is out."""
        if self._connection is not None:
            self._connection.close()
        while self._reach is not None and not self._dying:
            try:
                self._connection = await self._connect(self._reach)
            except OSError:
                await asyncio.sleep(CONNECT_PAUSE_S)
            except SandboxError as error:
                _log.warning("container %s: %s", self.container, error)
                self._kill(Cause.EXITED)
            else:
                self._send(self._connection, path, body)
                return

    async def _connect(self, reach: Reach) -> Connection:
        socket = await asyncio.to_thread(reach.socket)
        try:
            await self._loop.sock_connect(socket, (reach.address, PORT))
            _, connection = await self._loop.create_connection(
                partial(Connection, socket), sock=socket
            )
        except BaseException:
            socket.close()
            raise
        return connection

    # Hearing

    def _on_answer(self, answer: HttpAnswer | None) -> None:
        if self._waiting is None or self._dying:
            return
        if answer is None:
            self._loop.call_later(CLOSING_GRACE_S, self._kill, Cause.EXITED)
            return
        self._stop_timer()
        self._used = self._loop.time()
        if answer.status == BUSY:  # C21
            self._complete(Gone(Cause.EXITED, unread=True))
            self._kill(Cause.EXITED)
            return
        self._await_logs(self._read(answer))

    def _read(self, answer: HttpAnswer) -> Said:
        if answer.size > self._limit:
            return Gone(Cause.TOO_LONG, answer.size, answer.body[: self._limit])
        if self._initializing and OK <= answer.status < REDIRECTS:
            return Answer(b"{}")  # C1: whatever it says, it promises nothing
        body = answer.body.strip()
        if b"\n" in body:  # in JSON text only between tokens
            body = body.replace(b"\n", b" ")
        return Answer(body, not self._initializing and answer.status == OK)

    # Logs

    async def _listen(self, attached: asyncio.Future[None]) -> None:
        try:
            async with self._engine.output(self.container) as content:
                attached.set_result(None)
                while data := await content.readany():
                    self._output.feed(data)
                    self._note_output()
                    if self._logs.deaf:
                        await asyncio.sleep(DROP_PAUSE_S)
        except EngineError as error:
            if attached.done():
                _log.warning("container %s is not heard any more: %s", self.id, error)
            else:
                attached.set_exception(error)

    def _note_output(self) -> None:
        self._heard = self._loop.time()
        if self._said is not None and self._output.complete:
            self._complete(self._said)

    def _await_logs(self, said: Said) -> None:
        """Complete the run when its logs are; a good init writes no sentinel."""
        good_init = self._initializing and isinstance(said, Answer) and said.ok
        if good_init or not self._logs_bytes or self._output.complete:
            self._complete(said)
            return
        self._said = said
        self._heard = now = self._loop.time()
        most_mb = max(LOGS_LEAST_MB, self._logs_bytes // MEBIBYTE)
        self._logs_until = now + most_mb * LOGS_S_PER_MB
        self._timer = self._loop.call_later(self._quiet_s, self._on_quiet)

    def _on_quiet(self) -> None:
        if self._said is None:
            return
        until = min(self._heard + self._quiet_s, self._logs_until)
        if self._loop.time() < until:
            self._timer = self._loop.call_at(until, self._on_quiet)
            return
        if not self._output.sentinels:
            self._quiet_s = QUIET_ONCE_MISSED_S
        good = isinstance(self._said, Answer) and self._said.ok
        self._complete(self._said, INCOMPLETE if good else UNEXPECTED)

    def _complete(self, said: Said, notice: str = "") -> None:
        waiting, self._waiting, self._said = self._waiting, None, None
        self._stop_timer()
        if waiting is None or waiting.done():
            return
        self._output.flush()
        logs = self._logs.take()
        if notice and self._logs_bytes:
            logs = (*logs, f"{stamp(time.time_ns())} {STDERR}: {notice}")
        waiting.set_result(Ran(said, logs))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Ending

    def _kill(self, cause: Cause) -> asyncio.Task[None]:
        if self._removing is None:
            self._dying = True
            self._cause = self._cause or cause
            remove = self._engine.remove(self.container)
            self._removing = self._spawn(remove, "remove")
            self._loop.call_later(KILL_GRACE_S, self._give_up)
        return self._removing

    def _give_up(self) -> None:
        """The engine is slow: whoever waits has waited long enough."""
        if not self.exited.done():
            self._complete(Gone(self._cause or Cause.EXITED), UNEXPECTED)

    async def _await_end(self) -> None:
        out_of_memory = False
        try:
            await self._engine.ended(self.container)
            await asyncio.wait([self._listening], timeout=LAST_WORDS_S)
            if not self._dying:
                state = await self._engine.state(self.container)
                out_of_memory = state.out_of_memory
        except EngineError as error:
            _log.warning("container %s: %s", self.id, error)
        self._dying = True
        cause = Cause.OUT_OF_MEMORY if out_of_memory else Cause.EXITED
        said = self._said or Gone(self._cause or cause)
        self._complete(said, "" if self._output.complete else UNEXPECTED)
        self.exited.set_result(None)

    def _let_go(self) -> None:
        """Idempotent; afterwards nothing of it is left here."""
        self._stop_timer()
        if self._connection is not None:
            self._connection.close()
        for task in self._tasks:
            task.cancel()
        if self._reach is not None:
            self._reach.close()
        if not self.exited.done():
            self._complete(Gone(Cause.EXITED), UNEXPECTED)
            self.exited.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=f"container.{what} {self.id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("container %s: %s: %s", self.id, task.get_name(), error)


def _init_body(request: InitRequest) -> bytes:
    """C1: a blackbox action may have no code."""
    value: dict[str, object] = {
        "name": request.name,
        "main": request.main,
        "binary": request.binary,
        "env": dict(request.env),
    }
    if request.code:
        value["code"] = request.code
    return _encode({"value": value})


def _run_body(request: RunRequest) -> bytes:
    """C3; the arguments pass through as they are."""
    if not request.context:
        return b'{"value":%b}' % request.arguments
    return b'{"value":%b,%b' % (request.arguments, _encode(request.context)[1:])
