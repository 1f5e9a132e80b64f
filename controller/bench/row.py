"""One line of the table: what was measured, what it came to, what was aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """`value` against `aim`; `detail` has the figures that it was made from."""

    name: str
    what: str
    value: float
    unit: str
    sign: Literal[">=", "<="]
    aim: float
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.value >= self.aim if self.sign == ">=" else self.value <= self.aim

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "what": self.what,
            "value": round(self.value, 4),
            "unit": self.unit,
            "aim": f"{self.sign} {self.aim:g}",
            "met": self.met,
            "detail": self.detail,
        }


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the quotients of each pair: what disturbs one round disturbs both halves."""
    return statistics.median(first / second for first, second in pairs)


def rounded(values: Sequence[float], digits: int = 3) -> list[float]:
    return [round(value, digits) for value in values]
