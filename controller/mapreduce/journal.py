"""The results of the map, on disk as they come.

A run's folder has `run.json` (what was asked), `results.jsonl` (a line for every chunk
that has counted, in the order of completion) and, at the end, `report.json` and
`details.json`. A line is whole or it is not there: a torn last line, which a crash can
leave, is not read, and cut off when the run is resumed.

Whoever works on a run holds the lock of its file `lock`, which has its process id: so
others see whether a run goes on, whatever became of the process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.errors import RunBusy, RunFailed, RunUnknown
from edge_agent.model.errors import EdgeWhiskError

RUN, RESULTS, REPORT, DETAILS = (
    "run.json",
    "results.jsonl",
    "report.json",
    "details.json",
)
LOCK = "lock"


class Entry(msgspec.Struct, frozen=True):
    """A line of `results.jsonl`; `result` must stay the last.

    `count` units from `chunk` on; `seconds` by the clock of the node; `at` when it was
    handed out and `until` when it counted, in seconds of the run.
    """

    chunk: int
    count: int
    node: str
    activation: str
    seconds: float
    at: float
    until: float
    result: Raw


_ENTRY = msgspec.json.Decoder(Entry)


class Journal:
    """Writes one run's folder, between `open` and `close`.

    `add` only remembers: a disk may be slow and a run is not. `flush` writes.
    """

    def __init__(
        self, folder: Path, header: dict[str, Any], *, resumed: bool = False
    ) -> None:
        self.folder = folder
        self._header = header
        self._resumed = resumed
        self._waiting: list[Entry] = []
        self._file: FileIO | None = None
        self._lock: FileIO | None = None

    def open(self) -> None:
        """Go on with what is there when it is `resumed`, else replace it.

        Raises:
            RunBusy: another process works on it.
            RunFailed: the disk does not take it.
        """
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder / LOCK)
            for name in (REPORT, DETAILS):
                (self.folder / name).unlink(missing_ok=True)
            self._write(RUN, self._header)
            results = self.folder / RESULTS
            if not self._resumed:
                self._file = FileIO(results, "w")
                return
            self._file = FileIO(results, "a+")
            self._file.truncate(_whole(results))

    def close(self) -> None:
        """Write what is left; a disk that took none of it has said so before."""
        try:
            self.flush()
        finally:
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()

    def unlock(self) -> None:
        """The run is over, its reduce too."""
        if self._lock is not None:
            self._lock.close()

    def add(self, entry: Entry) -> None:
        self._waiting.append(entry)

    def gave_up(self, chunk: int, error: EdgeWhiskError) -> bool:  # noqa: ARG002
        return False

    def flush(self) -> None:
        """Hand what was added to the system: it outlives us, if not a power cut.

        Raises:
            RunFailed: the disk does not take it.
        """
        entries, self._waiting = self._waiting, []
        if not entries or self._file is None:
            return
        text = memoryview(msgspec.json.Encoder().encode_lines(entries))
        with _writing(self.folder):
            while text:
                text = text[self._file.write(text) :]

    def finish(self, report: dict[str, Any], details: dict[str, Any]) -> None:
        with _writing(self.folder):
            self._write(DETAILS, details)
            self._write(REPORT, report)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Whole, or not at all."""
        text = msgspec.json.format(msgspec.json.encode(content), indent=2)
        new = self.folder / f"{name}.new"
        new.write_bytes(text + b"\n")
        new.replace(self.folder / name)


def entry_lines(file: Path) -> Iterator[tuple[Entry, int]]:
    """Every whole line, and where in the file it ends.

    Raises:
        RunUnknown: a line is none of ours.
    """
    end = 0
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                end += len(line)
                if line.endswith(b"\n"):
                    yield _entry(file, number, line), end
    except OSError as error:
        raise RunUnknown(f"{file}: cannot be read: {error.strerror}") from error


def _entry(file: Path, number: int, line: bytes) -> Entry:
    try:
        return _ENTRY.decode(line)
    except msgspec.MsgspecError as error:
        raise RunUnknown(f"{file}:{number}: is no result: {error}") from error


def holder_of(folder: Path) -> int | None:
    """The id of the process that works on the run, if one does."""
    try:
        with (folder / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except (OSError, ValueError):
        pass
    return None


def _locked(place: Path) -> FileIO:
    file = FileIO(os.open(place, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RunBusy(place.parent) from None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    return file


def _whole(file: Path) -> int:
    """Where the last whole line ends."""
    with file.open("rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - 65536)
            lines.seek(start)
            at = lines.read(size - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            size = start
    return 0


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunFailed(f"{folder}: cannot be written: {reason}") from error
