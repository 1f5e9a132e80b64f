"""Runs side by side: where they differ by more than chance. Pure.

Two figures differ when their intervals do not touch; anything less is marked as the
same, however far apart the values are. The first run is the one the others are
measured by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.loadtest.document import FORMAT
from controller.loadtest.errors import BadLoadtest
from controller.loadtest.statistics import Estimate

#: What is compared, and whether more of it is better.
FIGURES = {"rate_per_s": True, "p50_ms": False, "p99_ms": False}
DATA = "run.json"
_Key = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """One figure of one line in two runs; `verdict` is better, worse or same."""

    point: str
    line: str
    figure: str
    run: str
    base: Estimate
    value: Estimate
    verdict: str

    @property
    def ratio(self) -> float:
        return self.value.value / self.base.value if self.base.value else float("inf")

    def document(self) -> dict[str, Any]:
        return {
            "point": self.point,
            "line": self.line,
            "figure": self.figure,
            "run": self.run,
            "base": self.base.document(),
            "value": self.value.document(),
            "ratio": round(self.ratio, 4),
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    differences: Sequence[Difference]
    #: Lines that not every run has, as `point: line`.
    missing: Sequence[str]

    @property
    def worse(self) -> bool:
        return any(each.verdict == "worse" for each in self.differences)


def read_run(place: Path) -> dict[str, Any]:
    """The document of a run: its folder, or its `run.json`.

    Raises:
        BadLoadtest: there is none, or it is not one.
    """
    file = place / DATA if place.is_dir() else place
    try:
        run: Any = json.loads(file.read_text())
    except OSError as error:
        reason = error.strerror or error
        raise BadLoadtest(f"{file}: no run of `edgectl bench run`: {reason}") from error
    except ValueError as error:
        raise BadLoadtest(f"{file}: not a run's document: {error}") from error
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise BadLoadtest(f"{file}: not a run's document of format {FORMAT}")
    return run


def compare(runs: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compare all with the first.

    Args:
        runs: documents by name, at least two.

    Raises:
        BadLoadtest: they have no line in common.
    """
    lines = {name: dict(_lines(run)) for name, run in runs.items()}
    (base_name, base), *others = lines.items()
    common = [key for key in base if all(key in other for _, other in others)]
    if not common:
        raise BadLoadtest(f"{base_name}: no line in common with the others")
    everything = dict.fromkeys(key for each in lines.values() for key in each)
    return Comparison(
        differences=[
            _difference(key, figure, name, base[key], other[key])
            for key in common
            for name, other in others
            for figure in FIGURES
        ],
        missing=[f"{key[0]}: {key[1]}" for key in everything if key not in common],
    )


def _lines(run: Mapping[str, Any]) -> Iterator[tuple[_Key, Mapping[str, Any]]]:
    for scenario in run["scenarios"]:
        for point in scenario["points"]:
            for line in point["lines"]:
                yield (point["label"], line["name"]), line


def _difference(
    key: _Key,
    figure: str,
    run: str,
    base: Mapping[str, Any],
    other: Mapping[str, Any],
) -> Difference:
    first, second = (Estimate(**line["intervals"][figure]) for line in (base, other))
    verdict = "same"
    if first.apart_from(second):
        better = (second.value > first.value) == FIGURES[figure]
        verdict = "better" if better else "worse"
    return Difference(*key, figure, run, first, second, verdict)
