"""Several runs of one process at the same time: `limits.concurrency` > 1 (C49).

The launcher has agreed by its answer to the init. From then on a request is a tag, a
space and the line that it would be otherwise. What comes back are lines as well, each
with the tag of its run: `+7 {...}` and `-7 {...}` are answers, `o7 "text"` and
`e7 "text"` are output, as JSON strings. What is written past the launcher's streams (by
a child, say) belongs to the run that ends next.

A run that is out of time is told so at once; the others go on. The pool gives such a
sandbox no more work, and destroys it when the last of them has ended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from edge_agent.model.activations import Answer, Cause, Gone, Said
from edge_agent.model.soon import Soon
from edge_agent.sandbox.answers import PATIENCE, Misbehaviour
from edge_agent.sandbox.base import Ran
from edge_agent.sandbox.logs import STDERR, STDOUT, LogCollector

READ_BYTES = 1 << 18
_STREAMS = {b"o": STDOUT, b"e": STDERR}
_OK = {b"+": True, b"-": False}
_MOST_DIGITS = 20

_text = msgspec.json.Decoder(str)


class Lines:
    """Takes bytes apart into lines; keeps at most `limit` of an unfinished one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit + _MOST_DIGITS
        self._kept = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> list[tuple[bytes, int]]:
        """Whole lines: their first bytes, and how long they were."""
        *whole, rest = chunk.split(b"\n")
        found = []
        for line in whole:
            self._keep(line)
            found.append((bytes(self._kept), self._size))
            self._kept.clear()
            self._size = 0
        self._keep(rest)
        return found

    def _keep(self, part: bytes) -> None:
        self._kept += part[: max(0, self._limit - len(self._kept))]
        self._size += len(part)
        if self._size > PATIENCE * self._limit:
            raise Misbehaviour("a line without end")


@dataclass(slots=True)
class Running:
    future: Soon[Ran]
    logs: LogCollector
    timer: asyncio.TimerHandle


class Many:
    """The conversation with one launcher.

    Args:
        requests: the descriptor to write to.
        answers: the descriptor to read from.
        limit: how long an answer may be.
        stray_logs: lines that came by stdout and stderr since it was last called.
        broken: called when what comes is no answer.
        closed: called when the launcher has closed its end.
    """

    def __init__(
        self,
        requests: int,
        answers: int,
        *,
        limit: int,
        stray_logs: Callable[[], tuple[str, ...]],
        broken: Callable[[Misbehaviour], None],
        closed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._requests = requests
        self._answers = answers
        self._limit = limit
        self._stray_logs = stray_logs
        self._broken = broken
        self._closed = closed
        self._lines = Lines(limit)
        self._running: dict[int, Running] = {}
        self._last_tag = 0
        self._unsent = bytearray()
        self._loop.remove_reader(answers)
        self._loop.add_reader(answers, self._on_answers)

    def run(
        self, line: Sequence[bytes], *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        tag = self._last_tag = self._last_tag + 1
        future: Soon[Ran] = Soon(loop=self._loop)
        logs = LogCollector()
        logs.start(logs_bytes)
        timer = self._loop.call_later(timeout_s, self._on_time, tag)
        self._running[tag] = Running(future, logs, timer)
        self._write(b"%d %b" % (tag, b"".join(line)))
        return future

    def end(self, why: Callable[[tuple[str, ...]], Cause]) -> None:
        """The process has ended. What it has written before is still heard."""
        with suppress(Misbehaviour):
            self._hear(self._last_words())
        for tag in list(self._running):
            logs = self._running[tag].logs.take()
            self._finish(tag, Gone(why(logs)), logs)

    # Writing

    def _write(self, line: bytes) -> None:
        if self._unsent:
            self._unsent += line
            return
        sent = self._try(line)
        if sent < len(line):
            self._unsent += line[sent:]
            self._loop.add_writer(self._requests, self._on_writable)

    def _on_writable(self) -> None:
        del self._unsent[: self._try(bytes(self._unsent))]
        if not self._unsent:
            self._loop.remove_writer(self._requests)

    def _try(self, data: bytes) -> int:
        try:
            return os.write(self._requests, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:  # its end will be heard of
            return len(data)

    # Hearing

    def _on_answers(self) -> None:
        try:
            chunk = os.read(self._answers, READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._closed()
            return
        try:
            self._hear(chunk)
        except Misbehaviour as error:
            self._broken(error)

    def _last_words(self) -> bytes:
        parts = []
        try:
            while chunk := os.read(self._answers, READ_BYTES):
                parts.append(chunk)
        except BlockingIOError:
            pass
        return b"".join(parts)

    def _hear(self, chunk: bytes) -> None:
        for line, size in self._lines.feed(chunk):
            head, _, body = line.partition(b" ")
            tag = self._tag_of(head)
            if tag not in self._running:
                continue  # it was out of time
            if head[:1] in _STREAMS:
                self._log(self._running[tag], head[:1], body)
            else:
                self._finish(tag, self._said(head[:1], body, size - len(head) - 1))

    def _tag_of(self, head: bytes) -> int:
        known = head[:1] in _STREAMS or head[:1] in _OK
        digits = head[1:]
        if not known or not digits.isdigit() or len(digits) >= _MOST_DIGITS:
            raise Misbehaviour("a line without a tag")
        tag = int(digits)
        if tag > self._last_tag:
            raise Misbehaviour("an answer that nobody asked for")
        return tag

    def _said(self, status: bytes, body: bytes, size: int) -> Said:
        if size > self._limit:
            return Gone(Cause.TOO_LONG, size, body[: self._limit])
        return Answer(body, _OK[status])

    def _log(self, running: Running, stream: bytes, body: bytes) -> None:
        try:
            text = _text.decode(body)
        except msgspec.MsgspecError as error:
            raise Misbehaviour("output that is no text") from error
        running.logs.feed(_STREAMS[stream], text.encode(errors="replace"))

    def _on_time(self, tag: int) -> None:
        if tag in self._running:
            self._finish(tag, Gone(Cause.TIMED_OUT))

    def _finish(self, tag: int, said: Said, logs: tuple[str, ...] = ()) -> None:
        running = self._running.pop(tag)
        running.timer.cancel()
        lines = logs or running.logs.take()
        if not running.future.done():
            running.future.set_result(Ran(said, (*lines, *self._stray_logs())))
