"""Log lines of an activation: labelled, stamped, bounded (C22-C24).

A line is `2024-01-01T00:00:00.123456789Z stdout: text`. What is bounded is the size of
these lines and not of the raw output, because a flood of empty lines costs memory too.
All lines of one read have one stamp: formatting it costs more than the line.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STDOUT, STDERR = "stdout", "stderr"
TRUNCATED = "Logs were truncated because the total bytes size exceeds the limit of"
_SECOND_NS = 1_000_000_000
_PREFIX_BYTES = len("2024-01-01T00:00:00.123456789Z stdout: ")


def stamp(now_ns: int) -> str:
    """ISO 8601 in UTC with nanoseconds: 30 columns."""
    seconds, ns = divmod(now_ns, _SECOND_NS)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{ns:09}Z"


class LogCollector:
    """The lines since the last `take`, at most `limit` bytes of them.

    What comes between two activations belongs to the next.
    """

    __slots__ = ("_clock", "_left", "_limit", "_lines", "_partial", "_truncated")

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._limit = self._left = 0
        self._lines: list[str] = []
        self._partial: dict[str, bytearray] = {}
        self._truncated = False

    @property
    def deaf(self) -> bool:
        """Whatever comes now is dropped."""
        return self._left <= 0

    def start(self, limit: int) -> None:
        """Bound what comes by `limit` bytes; 0 drops everything (C24)."""
        self._left += limit - self._limit
        self._limit = limit

    def feed(self, stream: str, chunk: bytes) -> None:
        if self._left <= 0:
            self._note_truncation()
            return
        first, newline, rest = chunk.partition(b"\n")
        partial = self._partial.get(stream)
        if newline and partial:
            partial += first
            self._add(stream, [bytes(partial)])
            del self._partial[stream]
            first, newline, rest = rest.partition(b"\n")
        if not newline:
            self._hold(stream, first)
            return
        lines = [first, *rest.split(b"\n")]
        self._hold(stream, lines.pop())
        self._add(stream, lines)

    def take(self) -> tuple[str, ...]:
        """The lines so far, unfinished ones included, and begin anew."""
        if self._partial:
            for stream, text in self._partial.items():
                self._add(stream, [bytes(text)])
            self._partial = {}
        if not self._lines:
            self._left = self._limit
            return ()
        lines, self._lines = tuple(self._lines), []
        self._left, self._truncated = self._limit, False
        return lines

    def _hold(self, stream: str, text: bytes) -> None:
        """Keep the start of a line until its end comes, or it is too long."""
        if not text:
            return
        partial = self._partial.setdefault(stream, bytearray())
        partial += text
        if len(partial) > self._left:
            del self._partial[stream]
            self._add(stream, [bytes(partial)])

    def _add(self, stream: str, texts: list[bytes]) -> None:
        prefix = f"{stamp(self._clock())} {stream}: "
        for text in texts:
            self._left -= _PREFIX_BYTES + len(text)
            if self._left < 0:
                fitting = self._left + len(text)
                self._cut(prefix, text[: max(0, fitting)])
                return
            self._lines.append(prefix + text.decode(errors="replace"))

    def _cut(self, prefix: str, text: bytes) -> None:
        if text:
            self._lines.append(prefix + text.decode(errors="replace"))
        self._left = 0
        self._note_truncation()

    def _note_truncation(self) -> None:
        if self._limit and not self._truncated:
            self._truncated = True
            prefix = f"{stamp(self._clock())} {STDERR}: "
            self._lines.append(f"{prefix}{TRUNCATED} {self._limit} bytes.")
