"""The results of the map, on disk as they come.

A run's folder has `run.json` (what was asked), `results.jsonl` (a line for every chunk
that has counted, in the order of completion) and, at the end, `report.json`. A line is
whole or it is not there: a torn last line, which a crash can leave, is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.errors import RunFailed

RUN, RESULTS, REPORT = "run.json", "results.jsonl", "report.json"


class Entry(msgspec.Struct, frozen=True):
    """A line of `results.jsonl`; `seconds` by the clock of the node."""

    chunk: int
    node: str
    activation: str
    seconds: float
    result: Raw


_ENTRY = msgspec.json.Decoder(Entry)


class Journal:
    """Writes one run's folder, between `open` and `close`.

    `add` only remembers: a disk may be slow and a run is not. `flush` writes.
    """

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        self.folder = folder
        self._header = header
        self._waiting: list[Entry] = []

    def open(self) -> None:
        """Replace what an older run has left in the folder.

        Raises:
            RunFailed: the disk does not take it.
        """
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / REPORT).unlink(missing_ok=True)
            self._write(RUN, self._header)
            self._file = (self.folder / RESULTS).open("wb")

    def close(self) -> None:
        """Write what is left; a disk that took none of it has said so before."""
        try:
            self.flush()
        finally:
            with suppress(OSError):
                self._file.close()

    def add(self, entry: Entry) -> None:
        self._waiting.append(entry)

    def flush(self) -> None:
        """Hand what was added to the system: it outlives us, if not a power cut.

        Raises:
            RunFailed: the disk does not take it.
        """
        entries, self._waiting = self._waiting, []
        if not entries:
            return
        with _writing(self.folder):
            self._file.write(msgspec.json.Encoder().encode_lines(entries))
            self._file.flush()

    def finish(self, report: dict[str, Any]) -> None:
        with _writing(self.folder):
            self._write(REPORT, report)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        text = msgspec.json.format(msgspec.json.encode(content), indent=2)
        (self.folder / name).write_bytes(text + b"\n")


def read_results(folder: Path) -> dict[int, Raw]:
    """The results of each chunk that has one."""
    found: dict[int, Raw] = {}
    with (folder / RESULTS).open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                entry = _ENTRY.decode(line)
                found.setdefault(entry.chunk, entry.result)
    return found


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunFailed(f"{folder}: cannot be written: {reason}") from error
