"""What others have measured, to draw beside ours; the file says who and how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Prior:
    source: str
    name: str
    rate_by_slots: Curve
    rate_by_payload: Mapping[str, Curve]  # by slots
    hop_ms: Curve  # by bytes
    cold_ms: tuple[float, float]
    burst_name: str
    burst_s: Curve  # by tasks


@cache
def prior() -> Prior:
    known: Any = json.loads(files(__package__).joinpath("prior.json").read_text())
    return Prior(
        source=known["source"],
        name=known["name"],
        rate_by_slots=_curve(known["rate_by_slots"]),
        rate_by_payload={n: _curve(c) for n, c in known["rate_by_payload"].items()},
        hop_ms=_curve(known["hop_ms"]),
        cold_ms=tuple(known["cold_ms"]),
        burst_name=known["burst_s"]["name"],
        burst_s=_curve(known["burst_s"]["points"]),
    )


def _curve(points: Sequence[Sequence[float]]) -> Curve:
    return [(x, y) for x, y in points]
