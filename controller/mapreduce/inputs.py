"""The inputs of a job, as JSON texts in a file without a name.

However many there are, memory holds eight bytes of each: where it ends. A job's
`inputs` are an iterable of JSON values, or the name of a file beside the job: a `.csv`
(each row an object by the names of the first), a `.jsonl` (each line a value), or any
other (each line a string).
"""

from __future__ import annotations

import csv
import hashlib
import mmap
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from controller.mapreduce.errors import JobError

#: The arguments of one invocation: OpenWhisk takes a megabyte.
MOST_BYTES = 900_000
MOST_INPUTS = 10_000_000

_encode = msgspec.json.Encoder().encode


class Inputs:
    """Read-only once made; see `read_inputs`."""

    def __init__(self, path: Path, values: Iterable[bytes]) -> None:
        self._ends = array("Q", [0])
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as file:
            for text in values:
                if len(text) > MOST_BYTES:
                    reason = f"input {len(self)} is longer than {MOST_BYTES} bytes"
                    raise JobError(path, reason)
                if len(self) == MOST_INPUTS:
                    raise JobError(path, f"more than {MOST_INPUTS} inputs")
                file.write(text + b",")
                digest.update(text + b",")
                self._ends.append(self._ends[-1] + len(text) + 1)
            file.flush()
            if not len(self):
                raise JobError(path, "there are no inputs")
            self._texts = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def text(self, first: int, count: int) -> bytes:
        """A JSON array of `count` inputs from `first` on."""
        start, end = self._ends[first], self._ends[first + count]
        return b"[%b]" % self._texts[start : end - 1]

    def fits(self, first: int, count: int) -> int:
        """How many of `count` go in one invocation; at least one."""
        most = self._ends[first] + MOST_BYTES
        reach = bisect_right(self._ends, most, first + 1, first + count + 1)
        return max(1, reach - first - 1)


def read_inputs(path: Path, given: Any) -> Inputs:
    """The `inputs` of the job `path`.

    Raises:
        JobError: they cannot be read, or one is no JSON.
    """
    if isinstance(given, str):
        file = path.parent / given
        try:
            with file.open(encoding="utf-8", newline="") as lines:
                return Inputs(path, _in_file(path, file, lines))
        except (OSError, UnicodeDecodeError) as error:
            raise JobError(path, f"inputs: {file}: {_reason(error)}") from error
    if isinstance(given, dict | bytes) or not isinstance(given, Iterable):
        raise JobError(path, "'inputs' is an iterable, or the name of a file")
    return Inputs(path, _encoded(path, given))


def _in_file(path: Path, file: Path, lines: Iterable[str]) -> Iterator[bytes]:
    match file.suffix:
        case ".csv":
            yield from map(_encode, csv.DictReader(lines))
        case ".jsonl" | ".ndjson":
            for number, line in enumerate(lines, 1):
                try:
                    yield _encode(msgspec.json.decode(line))
                except msgspec.MsgspecError as error:
                    reason = f"inputs: {file}:{number}: {error}"
                    raise JobError(path, reason) from error
        case _:
            yield from (_encode(line.rstrip("\r\n")) for line in lines)


def _encoded(path: Path, values: Iterable[Any]) -> Iterator[bytes]:
    try:
        for number, value in enumerate(values):
            try:
                yield _encode(value)
            except (TypeError, ValueError) as error:
                raise JobError(path, f"input {number} is not JSON: {error}") from error
    except (JobError, KeyboardInterrupt):
        raise
    except Exception as error:
        reason = f"inputs failed: {type(error).__name__}: {error}"
        raise JobError(path, reason) from error


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
