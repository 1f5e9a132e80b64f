"""What a container writes: the engine's frames taken apart, the sentinel found (C22).

An engine sends both streams over one connection in frames: a byte that tells which,
three of nothing, four with the length, then the bytes. A runtime writes the sentinel to
each stream when it has written all of a run's output; so the logs of a run are complete
when the last thing on both is the sentinel. One that user code has written is followed
by more, and then was none; at worst lines fall to the next run of the same action.
"""

from __future__ import annotations

from edge_agent.sandbox.logs import STDERR, STDOUT, LogCollector

SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
_HEADER_BYTES = 8
_STREAMS = {1: STDOUT, 2: STDERR}


class Frames:
    """Takes frames apart; a frame may come in pieces."""

    __slots__ = ("_header", "_left", "_stream")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._stream = ""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        found = []
        while data:
            if not self._left:
                missing = _HEADER_BYTES - len(self._header)
                self._header, data = self._header + data[:missing], data[missing:]
                if len(self._header) < _HEADER_BYTES:
                    break
                self._stream = _STREAMS.get(self._header[0], STDOUT)
                self._left = int.from_bytes(self._header[4:])
                self._header = b""
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            found.append((self._stream, piece))
        return found


class Output:
    """Feeds a collector with what is no sentinel; `complete`: both have ended."""

    def __init__(self, logs: LogCollector) -> None:
        self._logs = logs
        self._frames = Frames()
        self._held: dict[str, bytes] = {}
        self._ended: set[str] = set()
        self._line_end_due: set[str] = set()
        self.sentinels = 0

    @property
    def complete(self) -> bool:
        return len(self._ended) == len(_STREAMS)

    def begin(self) -> None:
        """A run begins: what was said is no sign of its end."""
        self._ended.clear()

    def feed(self, data: bytes) -> None:
        for stream, piece in self._frames.feed(data):
            self._feed(stream, self._held.pop(stream, b"") + piece)

    def flush(self) -> None:
        """Nothing will follow what looked like the start of a sentinel."""
        for stream, held in self._held.items():
            self._logs.feed(stream, held)
        self._held = {}

    def _feed(self, stream: str, data: bytes) -> None:
        while (at := data.find(SENTINEL)) >= 0:
            self._pass_on(stream, data[:at])
            data = data[at + len(SENTINEL) :]
            self._ended.add(stream)
            self._line_end_due.add(stream)
            self.sentinels += 1
        held = _start_of_sentinel(data)
        if held:
            self._held[stream] = data[-held:]
            data = data[:-held]
        self._pass_on(stream, data)

    def _pass_on(self, stream: str, data: bytes) -> None:
        if data and stream in self._line_end_due:  # that of the sentinel's line
            self._line_end_due.discard(stream)
            data = data.removeprefix(b"\n")
        if data:
            self._ended.discard(stream)
            self._logs.feed(stream, data)


def _start_of_sentinel(data: bytes) -> int:
    """How many of the last bytes may be the start of a sentinel; mostly none."""
    most = min(len(data), len(SENTINEL) - 1)
    at = data.rfind(b"XXX_", len(data) - most) if most else -1
    if at >= 0 and SENTINEL.startswith(data[at:]):
        return len(data) - at
    return next((n for n in (3, 2, 1) if data.endswith(b"X" * n)), 0)
