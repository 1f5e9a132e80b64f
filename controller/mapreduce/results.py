"""The results of a map, read from disk as they are asked for.

A journal has them in the order in which they came; a reducer wants them in that of the
chunks, perhaps more than once, and memory does not hold them. So: the file is mapped
into memory, and for each result two numbers say where it is.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec
from msgspec import Raw

from controller.mapreduce.journal import RESULTS, entry_lines

#: From where to where in the file.
Place = tuple[int, int]


class Results(Sequence[Any]):
    """Decoded when taken. A slice is a list, and `raw` the JSON text."""

    def __init__(
        self, texts: mmap.mmap | bytes, places: Sequence[tuple[int, int]]
    ) -> None:
        self._texts = texts
        self._starts = array("Q", (start for start, _ in places))
        self._ends = array("Q", (end for _, end in places))

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(len(self)))]
        return msgspec.json.decode(self.raw(at))

    def __iter__(self) -> Iterator[Any]:
        return (self[n] for n in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence):
            return len(self) == len(other) and all(
                mine == theirs for mine, theirs in zip(self, other, strict=True)
            )
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Results of {len(self)} chunks"

    def __add__(self, other: Sequence[Any]) -> list[Any]:
        return [*self, *other]

    def raw(self, at: int) -> Raw:
        return Raw(self._texts[self._starts[at] : self._ends[at]])


def read_results(folder: Path) -> Results:
    """Of each chunk that has one, in the order of the chunks."""
    file = folder / RESULTS
    found: dict[int, Place] = {}
    for entry, end in entry_lines(file):
        # The result is what a line ends with: `"result":...}` and the end of the line.
        stop = end - 2
        found.setdefault(entry.chunk, (stop - len(bytes(entry.result)), stop))
    places = [found[chunk] for chunk in sorted(found)]
    if not places:
        return Results(b"", [])
    with file.open("rb") as texts:
        return Results(mmap.mmap(texts.fileno(), 0, access=mmap.ACCESS_READ), places)


def plain(value: Any) -> Any:
    """The value as JSON has it.

    Raises:
        TypeError, ValueError: it has something that JSON has not.
    """
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_as_list))


def _as_list(value: Any) -> Any:
    if isinstance(value, Results):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def write_array(file: Path, results: Sequence[Any]) -> None:
    """All of them as one JSON array."""
    with file.open("wb") as array_file:
        for number in range(len(results)):
            one = (
                results.raw(number) if isinstance(results, Results) else results[number]
            )
            array_file.write(b"," if number else b"[")
            array_file.write(msgspec.json.encode(one))
        array_file.write(b"]" if len(results) else b"[]")
