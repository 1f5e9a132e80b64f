"""Drawings made of rectangles, lines and words: SVG always, PNG when it is asked for.

Pixels count from the top left corner. Colours are those of CSS. PNG is matplotlib's
work: a second, and more memory than a run of a hundred thousand chunks takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

from edge_agent.model.errors import EdgeWhiskError

#: Told apart by people who do not see all colours too.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
FONT_PX = 12
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


class FigureError(EdgeWhiskError):
    exit_code: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__("PNG needs matplotlib: pip install 'edgewhisk[figures]'")


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Line:
    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Words:
    """`y` is that of the base line."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(slots=True)
class Figure:
    width: int
    height: int
    shapes: list[Box | Line | Words] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self.shapes.append(Box(x, y, width, height, colour))

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.0
    ) -> None:
        if len(points) > 1:
            self.shapes.append(Line(points, colour, width))

    def words(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        self.shapes.append(Words(x, y, text, anchor))

    def svg(self) -> str:
        size = f'width="{self.width}" height="{self.height}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="{FONT_PX}"'
            ' font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
        )
        return "\n".join([head, *map(_svg, self.shapes), "</svg>\n"])

    def save(self, place: Path, *, png: bool = False) -> list[Path]:
        """`place` without its ending: writes PLACE.svg, and PLACE.png when asked.

        Raises:
            FigureError: there is no matplotlib.
        """
        saved = [place.with_suffix(".svg")]
        saved[0].write_text(self.svg())
        if png:
            if find_spec("matplotlib") is None:
                raise FigureError
            saved.append(place.with_suffix(".png"))
            _save_png(self, saved[1])
        return saved


def _svg(shape: Box | Line | Words) -> str:
    match shape:
        case Box(x, y, width, height, colour):
            size = f'width="{width:.2f}" height="{height:.2f}"'
            return f'<rect x="{x:.2f}" y="{y:.2f}" {size} fill="{colour}"/>'
        case Line(points, colour, width):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            stroke = f'stroke="{colour}" stroke-width="{width:g}"'
            return f'<polyline points="{path}" fill="none" {stroke}/>'
        case Words(x, y, text, anchor):
            where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            return f"<text {where}>{escape(text)}</text>"


def _save_png(figure: Figure, place: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 slow
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    canvas = Canvas(figsize=(figure.width / 100, figure.height / 100), dpi=100)
    FigureCanvasAgg(canvas)
    axes = canvas.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, figure.width)
    axes.set_ylim(figure.height, 0)
    axes.set_axis_off()
    for shape in figure.shapes:
        match shape:
            case Box(x, y, width, height, colour):
                axes.add_patch(Rectangle((x, y), width, height, color=colour))
            case Line(points, colour, width):
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=width)
            case Words(x, y, text, anchor):
                axes.text(x, y, text, ha=_ANCHORS[anchor], fontsize=FONT_PX * 0.72)
    canvas.savefig(place)
