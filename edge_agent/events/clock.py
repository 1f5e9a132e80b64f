"""Whether the wall clock can be believed. A Raspberry Pi has none that runs on.

Theory. Without a network a Pi may start in the past. What it has seen before is the
best it knows: a clock that is behind the newest wall time seen is *unsynced*, unless
the kernel says that a time server keeps it (then an earlier "newest" was the error).
Alarms at absolute times wait for an unsynced clock; durations never look at it.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: Steps back of a clock that is being kept are this small.
TOLERANCE_MS = 2_000
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class Reading(NamedTuple):
    """`behind_ms`: how far behind the newest time seen.

    `stepped_back_ms`: a clock to be believed is this much earlier than what was seen.
    """

    wall_ms: int
    mono_ms: int
    synced: bool
    behind_ms: int = 0
    stepped_back_ms: int = 0


class Clock:
    """Owns the newest wall time seen."""

    def __init__(
        self,
        *,
        wait: bool = True,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        mono_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        kept: Callable[[], bool] | None = None,
    ) -> None:
        """Store what it needs.

        Args:
            wait: False to believe the clock whatever was seen before.
            wall_ms: the clock.
            mono_ms: the clock that never jumps.
            kept: whether a time server keeps the clock; the kernel is asked by default.
        """
        self._wait = wait
        self._wall_ms = wall_ms
        self._mono_ms = mono_ms
        self._kept = kernel_keeps_time if kept is None else kept
        self.seen_ms = 0

    def remember(self, seen_ms: int) -> None:
        """What an earlier life has seen."""
        self.seen_ms = max(self.seen_ms, seen_ms)

    def read(self) -> Reading:
        wall, mono = self._wall_ms(), self._mono_ms()
        behind = max(0, self.seen_ms - wall)
        if behind <= TOLERANCE_MS:
            self.seen_ms = max(self.seen_ms, wall)
            return Reading(wall, mono, synced=True, behind_ms=behind)
        if self._kept() or not self._wait:
            self.seen_ms = wall
            return Reading(wall, mono, synced=True, stepped_back_ms=behind)
        return Reading(wall, mono, synced=False, behind_ms=behind)

    def health(self) -> dict[str, Any]:
        wall = self._wall_ms()
        kept = self._kept()
        behind = max(0, self.seen_ms - wall)
        synced = behind <= TOLERANCE_MS or kept or not self._wait
        return {
            "time": datetime.fromtimestamp(wall / 1000, UTC).isoformat("T", "seconds"),
            "synced": synced,
            "kept": kept,
            "behind_s": round(behind / 1000, 1),
        }


class _Timex(ctypes.Structure):
    """The beginning of the kernel's `struct timex`; the rest is room for it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def kernel_keeps_time() -> bool:
    """Whether something (NTP, chrony, timesyncd) keeps the kernel's clock."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return False
    timex = _Timex()
    state = adjtimex(ctypes.byref(timex))
    return 0 <= state != _TIME_ERROR and not timex.status & _STA_UNSYNC
