"""Curves on axes, drawn as a `Figure`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.mapreduce.figure import COLOURS, Figure

WIDTH, HEIGHT = 900, 560
LEFT, RIGHT, TOP, BOTTOM = 80, 240, 40, 60
MARK = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """`thin`: for comparison only."""

    name: str
    points: Sequence[tuple[float, float]]
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    log: bool = False
    zero: bool = False

    def scale(
        self, values: Sequence[float], first: float, last: float
    ) -> tuple[Callable[[float], float], list[float]]:
        """From a value to a pixel, and which values to name."""
        low, high = min(values), max(values)
        if self.log:
            low, high = math.log10(low), math.log10(high)
            marks = [10.0**n for n in range(math.floor(low), math.ceil(high) + 1)]
            low, high = min(low, math.log10(marks[0])), max(high, math.log10(marks[-1]))
        else:
            low = 0.0 if self.zero else low
            step = _step(high - low)
            marks = [n * step for n in range(math.ceil(high / step) + 1)]
            high = max(high, marks[-1])
        span = (high - low) or 1.0

        def place(value: float) -> float:
            at = math.log10(value) if self.log else value
            return first + (last - first) * (at - low) / span

        return place, marks


def plot(title: str, curves: Sequence[Curve], *, x: Axis, y: Axis) -> Figure:
    """`curves` have at least one point in all."""
    figure = Figure(WIDTH, HEIGHT)
    figure.words(LEFT, 22, title)
    points = [point for curve in curves for point in curve.points]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x_of, x_marks = x.scale([at for at, _ in points], LEFT, right)
    y_of, y_marks = y.scale([value for _, value in points], bottom, TOP)
    for mark in x_marks:
        figure.line([(x_of(mark), TOP), (x_of(mark), bottom)], "#e5e5e5")
        figure.words(x_of(mark), bottom + 18, f"{mark:g}", "middle")
    for mark in y_marks:
        figure.line([(LEFT, y_of(mark)), (right, y_of(mark))], "#e5e5e5")
        figure.words(LEFT - 8, y_of(mark) + 4, f"{mark:g}", "end")
    figure.words((LEFT + right) / 2, HEIGHT - 16, x.name, "middle")
    figure.words(8, TOP - 8, y.name)
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        placed = [(x_of(at), y_of(value)) for at, value in curve.points]
        figure.line(placed, colour, 1.0 if curve.thin else 2.5)
        for at, value in () if curve.thin else placed:
            figure.box(at - MARK / 2, value - MARK / 2, MARK, MARK, colour)
        key_y = TOP + 20 * number + 10
        figure.box(right + 16, key_y - 4, 14, 2 if curve.thin else 5, colour)
        figure.words(right + 38, key_y + 3, curve.name)
    return figure


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten: about five of them in the span."""
    rough = (span or 1.0) / 5
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= rough)
