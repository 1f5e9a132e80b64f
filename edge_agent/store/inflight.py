"""Which accepted rows run now: marks that survive the agent's own death.

A file mapped into memory, a slot of 16 bytes for each running row: its place in the
inbox and when it began. A mark is a store into memory, no system call and no fsync; the
kernel keeps the page when the process is killed, which is all that is asked of it. What
a power cut does to it does not matter: then nobody was killed by an event.

The head names the life of the agent that wrote the marks, so that counting them twice
(killed while counting) can be noticed.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

_HEAD = struct.Struct("8s8s")
_SLOT = struct.Struct("qq")
_MAGIC = b"EWflight"
_PAGE = 4096
_CLEAR = bytes(_SLOT.size)


class Inflight:
    """Owns the file. `life` is the present one's name, `died` the rows of the last."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.life = os.urandom(8).hex()
        self.last_life, self.died = self._read()
        self._map: mmap.mmap | None = None
        self._free: list[int] = []
        self._held: dict[int, int] = {}

    def begin(self) -> None:
        """Forget the last life's marks; call it when they have been counted."""
        try:
            # Room is taken now: a full disk must never make a mark a bus error.
            os.posix_fallocate(self._descriptor, 0, _PAGE)
        except OSError as error:
            log.warning("inflight: %s: rows of this life run unmarked", error.strerror)
            return
        os.ftruncate(self._descriptor, _PAGE)
        mapped = self._map = mmap.mmap(self._descriptor, _PAGE)
        mapped[:] = bytes(_PAGE)
        mapped[: _HEAD.size] = _HEAD.pack(_MAGIC, bytes.fromhex(self.life))
        self._free = [*reversed(range(_HEAD.size, _PAGE, _SLOT.size))]

    def mark(self, seq: int, start_ms: int) -> None:
        """Row `seq` begins to run."""
        if self._map is None:
            return
        if not self._free and not self._grow(self._map):
            return
        place = self._held[seq] = self._free.pop()
        _SLOT.pack_into(self._map, place, seq, start_ms)

    def clear(self, seq: int) -> None:
        """Row `seq` runs no more."""
        place = self._held.pop(seq, None)
        if place is not None and self._map is not None:
            self._map[place : place + _SLOT.size] = _CLEAR
            self._free.append(place)

    def close(self) -> None:
        """An orderly end: nobody was killed."""
        if self._map is not None:
            self._map[_HEAD.size :] = bytes(len(self._map) - _HEAD.size)
            self._map.close()
            self._map = None
        os.close(self._descriptor)

    def _grow(self, mapped: mmap.mmap) -> bool:
        old = len(mapped)
        try:
            os.posix_fallocate(self._descriptor, old, old)
            mapped.resize(2 * old)
        except OSError:  # no room for more marks: those rows run unmarked
            return False
        self._free = [*reversed(range(old, 2 * old, _SLOT.size))]
        return True

    def _read(self) -> tuple[str, list[tuple[int, int]]]:
        """The last life's name, and its rows with the times they began."""
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        if len(content) < _HEAD.size or not content.startswith(_MAGIC):
            return "", []
        _, life = _HEAD.unpack_from(content)
        return life.hex(), [*_marks(content[_HEAD.size :])]


def _marks(content: bytes) -> Iterator[tuple[int, int]]:
    whole = len(content) - len(content) % _SLOT.size
    for seq, start_ms in _SLOT.iter_unpack(content[:whole]):
        if seq > 0:
            yield seq, start_ms
