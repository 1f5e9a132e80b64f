"""When a measured value is worth an event: thresholds with hysteresis. Pure.

A value rises above `high` or falls below `low`; between the two nothing happens, so
noise around one threshold fires nothing. `delta` asks for every change of that size.
The first value fires nothing: it is how things are, not something that happened.
"""

from __future__ import annotations

from enum import StrEnum


class Crossing(StrEnum):
    RISEN = "risen"
    FALLEN = "fallen"
    CHANGED = "changed"


class Threshold:
    """Owns where the value was. `high` and `low` are None where only `delta` counts."""

    __slots__ = ("_above", "_delta", "_high", "_low", "_told")

    def __init__(
        self,
        high: float | None,
        low: float | None = None,
        *,
        delta: float | None = None,
    ) -> None:
        self._high = high
        self._low = high if low is None else low
        self._delta = delta
        self._above: bool | None = None
        self._told: float | None = None

    def update(self, value: float) -> list[Crossing]:
        """What `value` means."""
        if self._told is None:
            self._told = value
            self._above = self._high is not None and value >= self._high
            return []
        found = self._cross(value)
        if self._delta is not None and abs(value - self._told) >= self._delta:
            found.append(Crossing.CHANGED)
            self._told = value
        return found

    def _cross(self, value: float) -> list[Crossing]:
        if self._high is None or self._low is None:
            return []
        if not self._above and value >= self._high:
            self._above = True
            return [Crossing.RISEN]
        if self._above and value < self._low:
            self._above = False
            return [Crossing.FALLEN]
        return []
