"""How the C library keeps memory, told once and before there is a second thread.

One arena: the interpreter lock lets one thread at a time allocate anyway, and what one
thread allocates and another frees would stay scattered over as many arenas as there are
threads. Blocks of a megabyte come from the heap and a part of the heap is kept: to give
each back and fault it in anew costs a tenth of a call that carries one.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
ARENAS = 1
#: Free bytes at the heap's end that are kept.
KEPT_BYTES = 8 << 20
#: Larger blocks are mapped by themselves.
MAPPED_BYTES = 4 << 20


def set_up_allocator() -> None:
    """Only glibc can be told; other C libraries do as they do."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, ARENAS)
        mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
