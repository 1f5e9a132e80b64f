"""Reads the answer lines of a launcher: a status byte, JSON text, a newline.

`+` is an answer that is ok (a 2xx of the runtime contract), `-` one that is not.
Whatever else arrives is forged or broken, and the sandbox cannot be trusted any more;
but of a program that speaks the ActionLoop's protocol (C25) bare JSON is an answer.
No I/O here: bytes go in, what was said comes out.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.model.activations import Answer, Cause, Gone, Said

_STATUS = {ord("+"): True, ord("-"): False}
#: C27
NO_RESULT = b'{"error":"The action did not return a dictionary or array."}'
#: A line may be this many times the limit before we stop counting its bytes.
PATIENCE = 64
#: A longer answer is not copied out of what was read.
COPIED_BYTES = 32 << 10


class Misbehaviour(Exception):
    """Bytes that no launcher of ours sends."""


class AnswerReader:
    """Assembles one line at a time; keeps at most `limit` bytes of it.

    A longer one is counted to its end and reported as Gone(TOO_LONG).
    """

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def pending(self) -> int:
        """Bytes of an unfinished line so far."""
        return self._size

    def feed(self, chunk: bytes) -> Said | None:
        """What was said once the line is complete; raises Misbehaviour."""
        end = chunk.find(b"\n")
        if end == len(chunk) - 1 and not self._size and end <= self._limit:
            return _answer(chunk)
        if end not in {-1, len(chunk) - 1}:
            raise Misbehaviour("more than one answer")
        self._keep(chunk)
        return self._finish() if end >= 0 else None

    def _keep(self, chunk: bytes) -> None:
        # One byte of status and the newline do not count.
        room = self._limit + 2 - self._size
        if room > 0:
            self._parts.append(chunk[:room])
        self._size += len(chunk)
        if self._size > PATIENCE * self._limit:
            raise Misbehaviour("an answer without end")

    def _finish(self) -> Said:
        line, size = b"".join(self._parts), self._size - 2
        self._parts, self._size = [], 0
        if size > self._limit:
            _status_of(line)
            return Gone(Cause.TOO_LONG, size, line[1 : self._limit + 1])
        return _answer(line)


def _answer(line: bytes) -> Answer:
    whole = line if len(line) <= COPIED_BYTES else memoryview(line)
    return Answer(whole[1:-1], _status_of(line))


class AskingAnswerReader(AnswerReader):
    """Of launchers that may ask something while they initialize: a line with `?`.

    `on_question` is called with the text behind it. Two answers, to the start and to
    the init, and nothing is asked any more.
    """

    __slots__ = ("_answers_left", "_asks", "_on_question")

    def __init__(self, limit: int, on_question: Callable[[bytes], None]) -> None:
        super().__init__(limit)
        self._answers_left = 2
        self._asks = False
        self._on_question = on_question

    def feed(self, chunk: bytes) -> Said | None:
        if self._answers_left and chunk[:1] == b"?" and not self.pending:
            self._asks = True
            chunk = b"+" + chunk[1:]
        said = super().feed(chunk)
        if said is None or not self._answers_left:
            return said
        if self._asks:
            self._asks = False
            self._on_question(bytes(said.body) if isinstance(said, Answer) else b"")
            return None
        self._answers_left -= 1
        return said


class BareAnswerReader(AnswerReader):
    """Of programs whose lines need no status."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> Said | None:
        if not self.pending and chunk[:1] not in {b"+", b"-"}:
            chunk = b"+" + chunk
        said = super().feed(chunk)
        if isinstance(said, Answer) and said.ok and not _is_container(said.body):
            return Answer(NO_RESULT, ok=False)
        return said


def _is_container(body: bytes | memoryview) -> bool:
    return bytes(body[:64]).lstrip()[:1] in {b"{", b"["}


def _status_of(line: bytes) -> bool:
    try:
        return _STATUS[line[0]]
    except (KeyError, IndexError):
        raise Misbehaviour("an answer without a status") from None
