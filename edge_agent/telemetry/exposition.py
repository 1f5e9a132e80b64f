"""Prometheus' text format 0.0.4: families of samples, written down.

A small writer of our own, because the names are OpenWhisk's: the usual client library
adds `_total` to counters, which theirs do not all have. Labels are text from the start,
so that the ones of an action are put together once and not at every scrape.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4"
_MILLISECONDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
#: E11.
TIME_BUCKETS_S = tuple(ms / 1000 for ms in _MILLISECONDS)
#: E6.
SIZE_BUCKETS = tuple(float(n << 20) for n in range(10))
#: After so many lines the loop may see to something else.
LINES_AT_ONCE = 1000


class Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = TIME_BUCKETS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, other: Histogram) -> None:
        """Take in another one with the same bounds."""
        self.total += other.total
        for place, count in enumerate(other.counts):
            self.counts[place] += count


#: Labels as text, and what they have come to.
Sample = tuple[str, float | Histogram]


class Family(NamedTuple):
    """All samples of one name; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def labels(**pairs: str) -> str:
    """`a="x",b="y"`."""
    return ",".join(f'{k}="{_escaped(v)}"' for k, v in pairs.items())


def joined(*texts: str) -> str:
    return ",".join(text for text in texts if text)


async def write(families: Iterable[Family], *, fixed: str) -> str:
    """The whole text; `fixed` labels go on every line."""
    lines: list[str] = []
    rest = LINES_AT_ONCE
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for text, value in family.samples:
            before = len(lines)
            lines.extend(_lines(family.name, joined(fixed, text), value))
            rest -= len(lines) - before
            if rest < 0:
                rest = LINES_AT_ONCE
                await asyncio.sleep(0)
    return "\n".join(lines) + "\n"


def _lines(name: str, text: str, value: float | Histogram) -> Iterator[str]:
    if not isinstance(value, Histogram):
        yield f"{name}{{{text}}} {value:.15g}"
        return
    sums = list(accumulate(value.counts))
    start = f"{name}_bucket{{{text}," if text else f"{name}_bucket{{"
    for end, count in zip(_ends(value.bounds), sums, strict=True):
        yield f"{start}{end}{count}"
    yield f"{name}_sum{{{text}}} {value.total:.15g}"
    yield f"{name}_count{{{text}}} {sums[-1]}"


@cache
def _ends(bounds: tuple[float, ...]) -> list[str]:
    """What stands behind a bucket's own labels."""
    return [f'le="{bound:.15g}"}} ' for bound in bounds] + ['le="+Inf"} ']


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
