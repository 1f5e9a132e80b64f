"""One process sandbox: its conversation with the launcher, its logs and its end.

A warm run makes no task: the request line is written at once, a reader callback
completes the future, and one timer per sandbox, set anew only when it fires, watches
the time. When an answer has come, what the pipes of stdout and stderr still hold
belongs to it, because the launcher flushes before it answers; so no sentinel is needed.

    starting --hello--> prewarmed --init--> ready --run--> ready ...
    any of them --death, misbehaviour, time out, destroy--> dying --reaped--> exited
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable, Sequence
from functools import partial

from edge_agent.model.activations import Answer, Cause, Gone, Said
from edge_agent.model.soon import Soon
from edge_agent.sandbox.answers import AnswerReader, Misbehaviour
from edge_agent.sandbox.base import AGREED, InitRequest, Ran, RunRequest, SandboxSpec
from edge_agent.sandbox.exceeding import Exceeding
from edge_agent.sandbox.hold import Hold
from edge_agent.sandbox.logs import LogCollector
from edge_agent.sandbox.many import Many
from edge_agent.sandbox.pipes import encode, read_some, run_line, write_some
from edge_agent.sandbox.spawn import (
    ANSWERS,
    REQUESTS,
    STDERR,
    STDOUT,
    Child,
    grow_pipe,
    waiting_in,
)

PIPE_BYTES, GROWN_PIPE_BYTES = 1 << 16, 1 << 20
LOG_READ_BYTES = 1 << 15
#: While output is being dropped it is read at this pace, so that a flood costs little.
DROP_PAUSE_S = 0.005
DRAIN_READS = 32
#: How long a process may live on after it has closed its answers, or was killed.
CLOSING_GRACE_S = 0.5
KILL_GRACE_S = 2.0
DESTROY_TIMEOUT_S = 10.0
#: Exit code of a launcher whose user code ran out of memory.
EXIT_OUT_OF_MEMORY = 113
#: Exit codes of an interpreter that aborted itself: SIGTRAP and SIGABRT.
_ABORTED = {133, 134, -5, -6}
_LABELS = {STDOUT: "stdout", STDERR: "stderr"}

_log = logging.getLogger(__name__)


class ProcessSandbox:
    """A Sandbox whose code runs in a child process."""

    def __init__(
        self,
        sandbox_id: str,
        spec: SandboxSpec,
        *,
        level: str,
        child: Child,
        hold: Hold,
        answers: AnswerReader,
        on_destroyed: Callable[[str], None],
    ) -> None:
        self.id = sandbox_id
        self.spec = spec
        self.level = level
        self._many: Many | None = None
        self.packages = ""  # the folder of those that the action has asked for
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._child = child
        self._hold = hold
        self._exceeding = Exceeding(hold)
        self._on_destroyed = on_destroyed
        self._answers = answers
        self._logs = LogCollector()
        self._waiting: Soon[Ran] | None = None
        self._unsent = memoryview(b"")
        self._asked = 0
        self._deadline = self._timer_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._grown = False
        self._read_bytes = PIPE_BYTES
        self._cause: Cause | None = None
        self._dying = False
        self._destroyed: asyncio.Future[None] | None = None
        self._log_poll = select.poll()
        self._watch()

    @property
    def pid(self) -> int:
        """Of the process that we started: bubblewrap's, or the launcher's."""
        return self._child.pid

    # What the pool asks

    def greet(self, *, timeout_s: float, logs_bytes: int) -> asyncio.Future[Ran]:
        """The launcher's first answer, sent by itself: it is ready for an action."""
        return self._ask((), timeout_s, logs_bytes)

    def init(
        self, request: InitRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        future = self._ask((encode(request) + b"\n",), timeout_s, logs_bytes)
        if request.concurrency > 1:
            future.add_done_callback(self._share)
        return future

    def reply(self, line: bytes) -> None:
        """What the launcher has asked while it initializes."""
        if not self._dying and not self.exited.done():
            self._write((line,))

    def run(
        self, request: RunRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        if self._many is not None and not self._dying:
            return self._many.run(
                run_line(request), timeout_s=timeout_s, logs_bytes=logs_bytes
            )
        return self._ask(run_line(request), timeout_s, logs_bytes)

    def exceeded(self) -> str:
        return self._exceeding.news()

    async def destroy(self) -> None:
        if self._destroyed is not None:
            await asyncio.shield(self._destroyed)
            return
        self._destroyed = self._loop.create_future()
        self._kill(Cause.EXITED)
        try:
            await asyncio.wait([self.exited], timeout=DESTROY_TIMEOUT_S)
            if not self.exited.done():
                _log.error("sandbox %s: pid %d outlives SIGKILL", self.id, self.pid)
            if not self._hold.quick_clean():
                await self._loop.run_in_executor(None, self._hold.clean)
        finally:
            self._on_destroyed(self.id)
            self._destroyed.set_result(None)

    # Asking

    def _ask(
        self, line: Sequence[bytes], timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        if self._dying or self.exited.done():
            gone: asyncio.Future[Ran] = self._loop.create_future()
            gone.set_result(Ran(Gone(Cause.EXITED, unread=True)))
            return gone
        future: Soon[Ran] = Soon(loop=self._loop)
        self._waiting = future
        self._logs.start(logs_bytes)
        self._deadline = self._loop.time() + timeout_s
        if self._timer is None or self._timer_at > self._deadline:
            self._set_timer()
        if line:
            self._write(line)
        return future

    def _write(self, line: Sequence[bytes]) -> None:
        fd = self._child.ends[REQUESTS]
        size = self._asked = sum(map(len, line))
        if size > PIPE_BYTES and not self._grown:
            self._grown = True
            grow_pipe(fd, GROWN_PIPE_BYTES)
        sent = write_some(fd, line)
        if sent == size:
            return
        self._unsent = memoryview(b"".join(line))[sent or 0 :]
        if sent is not None:
            self._loop.add_writer(fd, self._on_writable)

    def _on_writable(self) -> None:
        fd = self._child.ends[REQUESTS]
        sent = write_some(fd, (self._unsent,))
        self._unsent = self._unsent[sent or 0 :]
        if sent is None or not self._unsent:
            self._loop.remove_writer(fd)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self._kill(Cause.TIMED_OUT)

    # Hearing

    def _watch(self) -> None:
        ends = self._child.ends
        self._loop.add_reader(ends[ANSWERS], self._on_answer)
        self._loop.add_reader(self._child.exit_fd, self._on_exit)
        for end in _LABELS:
            self._log_poll.register(ends[end], select.POLLIN)
            self._loop.add_reader(ends[end], partial(self._on_log, end))

    def _on_answer(self) -> None:
        chunk = read_some(self._child.ends[ANSWERS], self._read_bytes)
        if chunk is None:
            return
        if not chunk:
            self._on_answers_closed()
            return
        try:
            said = self._hear(chunk)
        except Misbehaviour as error:
            self._misbehaved(error)
            return
        if said is not None:
            self._finish(said)

    def _misbehaved(self, error: Misbehaviour) -> None:
        _log.warning("sandbox %s misbehaved: %s", self.id, error)
        self._kill(Cause.EXITED)

    def _share(self, init: asyncio.Future[Ran]) -> None:
        """From here on several runs at a time, if the launcher agrees."""
        said = init.result().said
        if isinstance(said, Answer) and AGREED in bytes(said.body) and not self._dying:
            self._many = Many(
                self._child.ends[REQUESTS],
                self._child.ends[ANSWERS],
                limit=self._answers.limit,
                stray_logs=self._take_logs,
                broken=self._misbehaved,
                closed=self._on_answers_closed,
            )

    def _hear(self, chunk: bytes) -> Said | None:
        if self._waiting is None:
            raise Misbehaviour(f"an answer that nobody asked for: {chunk[:60]!r}")
        if len(chunk) == PIPE_BYTES == self._read_bytes:
            grow_pipe(self._child.ends[ANSWERS], GROWN_PIPE_BYTES)
            self._read_bytes = GROWN_PIPE_BYTES
        return self._answers.feed(chunk)

    def _finish(self, said: Said) -> None:
        self._complete(Ran(said, self._take_logs()))

    def _complete(self, ran: Ran) -> None:
        waiting, self._waiting = self._waiting, None
        # Done already: against the contract, or with the task that waited for it.
        if waiting is not None and not waiting.done():
            waiting.set_result(ran)

    def _on_answers_closed(self) -> None:
        """It is exiting, and its exit code will tell why; or it only pretends."""
        self._loop.remove_reader(self._child.ends[ANSWERS])
        self._loop.call_later(CLOSING_GRACE_S, self._kill, Cause.EXITED)

    # Logs

    def _on_log(self, end: int) -> None:
        fd = self._child.ends[end]
        chunk = read_some(fd, LOG_READ_BYTES)
        if chunk:
            self._logs.feed(_LABELS[end], chunk)
            if self._logs.deaf:
                self._loop.remove_reader(fd)
                self._loop.call_later(DROP_PAUSE_S, self._hear_again, end)
        elif chunk is not None:
            self._loop.remove_reader(fd)
            self._log_poll.unregister(fd)

    def _hear_again(self, end: int) -> None:
        fd = self._child.ends.get(end)
        if fd is not None:
            self._loop.add_reader(fd, partial(self._on_log, end))

    def _take_logs(self) -> tuple[str, ...]:
        ready = self._log_poll.poll(0)
        if ready:
            readable = {fd for fd, _ in ready}
            for end, label in _LABELS.items():
                if self._child.ends[end] in readable:
                    self._drain(self._child.ends[end], label)
        return self._logs.take()

    def _drain(self, fd: int, label: str) -> None:
        """Bounded: a process that never stops printing does not keep us here."""
        for _ in range(DRAIN_READS):
            chunk = read_some(fd, PIPE_BYTES)
            if chunk:
                self._logs.feed(label, chunk)
            if not chunk or len(chunk) < PIPE_BYTES:
                return

    # Ending

    def _kill(self, cause: Cause) -> None:
        if self._dying:
            return
        self._dying = True
        self._cause = cause
        # An answer that comes between this and its end would be half a truth.
        self._loop.remove_reader(self._child.ends[ANSWERS])
        self._hold.kill()
        self._loop.call_later(KILL_GRACE_S, self._insist)

    def _insist(self) -> None:
        if not self.exited.done():
            self._child.kill(group=True)
            self._finish(Gone(self._cause or Cause.EXITED))

    def _on_exit(self) -> None:
        if not self._child.reap():
            return
        self._dying = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._many is not None:
            self._many.end(self._why)
        self._hear_last_words()
        self._let_go()
        self.exited.set_result(None)

    def _hear_last_words(self) -> None:
        """An answer may have been written just before the end."""
        if self._waiting is None:
            return
        try:
            while self._cause is None and self._waiting is not None:
                chunk = read_some(self._child.ends[ANSWERS], GROWN_PIPE_BYTES)
                said = self._answers.feed(chunk) if chunk else None
                if said is not None:
                    self._finish(said)
                elif not chunk:
                    break
        except Misbehaviour:
            self._cause = Cause.EXITED
        if self._waiting is not None:
            logs = self._take_logs()
            gone = Gone(self._why(logs), unread=self._unread())
            self._complete(Ran(gone, logs))

    def _unread(self) -> bool:
        """Whether all of the request is still with us or in the pipe."""
        if self._cause is Cause.TIMED_OUT or not self._asked:
            return False
        left = len(self._unsent) + waiting_in(self._child.ends[REQUESTS])
        return left == self._asked

    def _why(self, logs: tuple[str, ...]) -> Cause:
        status = self._child.status
        if self._cause not in {None, Cause.EXITED}:
            return self._cause or Cause.EXITED
        group = self._hold.group
        if status == EXIT_OUT_OF_MEMORY or (group and group.out_of_memory):
            return Cause.OUT_OF_MEMORY
        if status in _ABORTED and any("out of memory" in line for line in logs):
            return Cause.OUT_OF_MEMORY
        return Cause.EXITED

    def _let_go(self) -> None:
        for fd in (*self._child.ends.values(), self._child.exit_fd):
            self._loop.remove_reader(fd)
        self._loop.remove_writer(self._child.ends[REQUESTS])
        self._child.close_all()
