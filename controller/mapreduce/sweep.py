"""The same job over and over: in more and more chunks, on more and more nodes.

The figures have the curves of the prior cluster beside ours: Serverless-Supercomputing
on OpenShift, pi on four action containers with one, two and four cores in all.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.fleet.target import Target
from controller.mapreduce.figure import Figure
from controller.mapreduce.options import OptionError
from controller.mapreduce.plot import Axis, Curve, plot

#: Cores -> (actions, seconds).
PRIOR: Mapping[int, Sequence[tuple[int, float]]] = {
    1: (
        (2, 87.22), (4, 87.34), (8, 46.97), (16, 51.08), (32, 51.11), (64, 56.35),
        (128, 72.77), (500, 61.43), (1000, 89.26), (5000, 113.8),
    ),
    2: (
        (2, 81.57), (4, 56.19), (8, 57.07), (16, 50.98), (32, 55.98), (64, 57.75),
        (128, 56.85), (500, 66.11), (1000, 82.33), (5000, 503.11),
    ),
    4: ((8, 51.47), (16, 47.62), (32, 45.85), (64, 49.21), (128, 49.65)),
}  # fmt: skip
MOST_VALUES = 200
MORE = frozenset({"...", "…"})
_RANGE = re.compile(r"(.+?)\.\.(.+)")


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the sweep; `cpus` of all nodes together, None: all there is."""

    settings: Mapping[str, str]
    chunks: int
    nodes: int
    cpus: float | None = None

    @property
    def label(self) -> str:
        """Whatever is the same along a curve over the chunks."""
        said = [f"{name}={value}" for name, value in self.settings.items()]
        said.append(f"{self.nodes} nodes" if self.nodes != 1 else "1 node")
        if self.cpus is not None:
            said.append("1 CPU" if self.cpus == 1 else f"{self.cpus:g} CPUs")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Point:
    case: Case
    seconds: float
    efficiency: float

    def document(self) -> dict[str, Any]:
        return {
            "settings": dict(self.case.settings),
            "chunks": self.case.chunks,
            "nodes": self.case.nodes,
            "cpus": self.case.cpus,
            "seconds": round(self.seconds, 3),
            "efficiency": round(self.efficiency, 4),
        }


def numbers(text: str, *, what: str, kind: Callable[[float], Any] = int) -> list[Any]:
    """`2,4,…,5000`: what the dots stand for goes on as the two before them.

    Raises:
        OptionError: it is no such list.
    """
    found: list[float] = []
    parts = [part.strip() for part in text.split(",")]
    try:
        for number, part in enumerate(parts):
            if part in MORE:
                end = float(parts[number + 1])
                factor = found[-1] / found[-2]
                while factor > 1 and found[-1] * factor < end:
                    found.append(found[-1] * factor)
            else:
                found.append(float(part))
        if not found or min(found) <= 0 or len(found) > MOST_VALUES:
            raise ValueError  # noqa: TRY301 told below
        return [kind(value) for value in found]
    except (ValueError, IndexError, ZeroDivisionError, OverflowError):
        raise OptionError(
            f"'{what}' is a list like 1,2,4 or 2,4,...,5000, not '{text}'"
        ) from None


def values(text: str) -> list[str]:
    """Of a setting: `1e5..1e9` is a decade each, anything else itself."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    try:
        low, high = map(float, match.groups())
        first, last = math.log10(low), math.log10(high)
    except ValueError:
        return [text]
    count = round(last - first)
    if not 0 < count < MOST_VALUES:
        return [text]
    return [f"{low * 10**n:g}" for n in range(count + 1)]


def cases(
    *,
    settings: Mapping[str, str],
    chunks: Sequence[int],
    nodes: Sequence[int],
    cpus: Sequence[float | None],
) -> Iterator[Case]:
    """Every one with every other."""
    names = list(settings)
    for chosen in itertools.product(*(values(settings[name]) for name in names)):
        fixed = dict(zip(names, chosen, strict=True))
        for count, cpu, pieces in itertools.product(nodes, cpus, chunks):
            yield Case(fixed, pieces, count, cpu)


def first_targets(targets: Sequence[Target], count: int) -> Sequence[Target]:
    """Raises OptionError: there are not so many."""
    if count > len(targets):
        text = f"'--nodes {count}': the target has {len(targets)}"
        raise OptionError(text)
    return targets[:count]


def over_chunks(name: str, points: Sequence[Point]) -> Figure:
    curves = [
        Curve(label, sorted((p.case.chunks, p.seconds) for p in group))
        for label, group in _grouped(points, lambda point: point.case.label)
    ]
    curves += [
        Curve(f"prior cluster, {_cores(cores)}", [*map(_pair, known)], thin=True)
        for cores, known in PRIOR.items()
    ]
    x, y = Axis("chunks", log=True), Axis("seconds", log=True)
    return plot(f"{name}: seconds over chunks", curves, x=x, y=y)


def over_nodes(name: str, points: Sequence[Point]) -> Figure:
    """How many times faster than the fewest nodes, at each one's best chunks."""
    best: dict[int, float] = {}
    for point in points:
        known = best.get(point.case.nodes, math.inf)
        best[point.case.nodes] = min(known, point.seconds)
    least = min(best)
    measured = [(n, least * best[least] / best[n]) for n in sorted(best)]
    ideal = [(float(n), float(n)) for n in sorted(best)]
    curves = [Curve("measured", measured), Curve("ideal", ideal, thin=True)]
    x, y = Axis("nodes", zero=True), Axis("times as fast", zero=True)
    return plot(f"{name}: speed-up over nodes", curves, x=x, y=y)


def draw(
    name: str, points: Sequence[Point], folder: Path, *, png: bool = False
) -> list[Path]:
    drawn = over_chunks(name, points).save(folder / "chunks", png=png)
    if len({point.case.nodes for point in points}) > 1:
        drawn += over_nodes(name, points).save(folder / "speed-up", png=png)
    return drawn


def _grouped(
    points: Sequence[Point], key: Callable[[Point], str]
) -> list[tuple[str, list[Point]]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(key(point), []).append(point)
    return list(groups.items())


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _pair(known: tuple[int, float]) -> tuple[float, float]:
    return float(known[0]), known[1]
