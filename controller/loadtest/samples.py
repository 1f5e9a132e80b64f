"""The calls of a run, as the load tests write them with `--samples`.

The columns are those of `loadtests/_samples.py`, which needs Locust to be imported.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One call; see `loadtests/_samples.py`. An `error` of None is a success."""

    name: str
    due_s: float
    late_ms: float
    latency_ms: float
    service_ms: float
    status: int
    size_bytes: int
    wait_ms: float | None
    init_ms: float | None
    run_ms: float | None
    error: str | None

    @property
    def cold(self) -> bool:
        return self.init_ms is not None


def read_samples(path: Path) -> list[Sample]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [_sample(row) for row in rows]


def _sample(row: list[str]) -> Sample:
    name, due, late, latency, service, status, size, wait, init, run, error = row
    return Sample(
        name,
        float(due),
        float(late),
        float(latency),
        float(service),
        int(status),
        int(size),
        _number(wait),
        _number(init),
        _number(run),
        error or None,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def by_name(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """The lines of the table, in the order of their first calls."""
    lines: dict[str, list[Sample]] = {}
    for sample in samples:
        lines.setdefault(sample.name, []).append(sample)
    return lines
