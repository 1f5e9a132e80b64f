"""What the demo has shown, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.demo_replay import Measured
from controller.mapreduce.progress import Report


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """One replay; `by_node` counts the activations of `action`."""

    topic: str
    action: str
    by_node: Mapping[str, int]
    measured: Measured

    @property
    def activations(self) -> int:
        return sum(self.by_node.values())

    @property
    def sentence(self) -> str:
        measured = self.measured
        return (
            f"{measured.sent:,} messages, {measured.results:,} results"
            f" in {measured.seconds:.1f} s ({measured.rate_per_s:,.0f}/s),"
            f" lost {len(measured.lost)}"
        )

    def as_json(self) -> dict[str, Any]:
        measured = self.measured
        return {
            "topic": self.topic,
            "action": self.action,
            "messages": measured.sent,
            "activations": self.activations,
            "by_node": dict(self.by_node),
            "results": measured.results,
            "lost": len(measured.lost),
            "duplicates": measured.duplicates,
            "p50_ms": _rounded(measured.percentile_ms(50)),
            "p99_ms": _rounded(measured.percentile_ms(99)),
            "seconds": round(measured.seconds, 3),
            "rate_per_s": round(measured.rate_per_s, 1),
        }


@dataclass(frozen=True, slots=True)
class DemoReport:
    directory: Path
    replays: tuple[ReplayReport, ...]
    pi: Report
    seconds: float
    kept: bool
    broker_port: int

    @property
    def lost(self) -> int:
        return sum(len(replay.measured.lost) for replay in self.replays)

    @property
    def pi_sentence(self) -> str:
        found = self.pi.result
        return (
            f"pi = {found['pi']:.8f}, off by {found['error']:.1e}"
            f" (expected about {found['stderr']:.1e}),"
            f" {found['points']:,} points in {self.pi.seconds:.1f} s"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "replays": [replay.as_json() for replay in self.replays],
            "pi": self.pi.as_json(),
            "seconds": round(self.seconds, 1),
            "logs": str(self.directory),
            "kept": self.kept,
        }


def _rounded(value: float) -> float | None:
    """None for the NaN of no results: JSON has none."""
    return round(value, 2) if value == value else None  # noqa: PLR0124 NaN
