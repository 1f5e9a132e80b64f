"""The picture of a run: which node worked on what when, and how busy its cores were.

A node has a row for each of its slots; a bar is a chunk, from when it began (its end
less what the node says it took) to when it counted. The line below is the share of the
node's cores that worked.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

from controller.mapreduce.figure import COLOURS, Figure
from controller.mapreduce.journal import RESULTS, Entry, entry_lines
from controller.mapreduce.progress import NodeReport, Report

LEFT, RIGHT, TOP, WIDTH = 130, 20, 30, 1000
BAR, CPU, GAP = 10, 24, 14
MOST_ROWS = 8
BETWEEN_PX = 1.5
#: Bars of one row nearer than this are drawn as one.
APART_PX = 2.0
PICTURE = "run"

#: From, to: seconds of the run.
Span = tuple[float, float]


def draw_run(folder: Path, report: Report, *, png: bool = False) -> list[Path]:
    """Write `run.svg` to the folder of a run, and `run.png` when asked."""
    spans: dict[str, list[Span]] = {node.name: [] for node in report.nodes}
    for entry, _ in entry_lines(folder / RESULTS):
        spans.setdefault(entry.node, []).append(_span(entry))
    return picture(report, spans).save(folder / PICTURE, png=png)


def _span(entry: Entry) -> Span:
    return max(entry.at, entry.until - entry.seconds), entry.until


def picture(report: Report, spans: dict[str, list[Span]]) -> Figure:
    rows = {
        node.name: lanes(spans.get(node.name, []), max(1, node.slots))
        for node in report.nodes
    }
    heights = [len(each) * BAR + CPU + GAP for each in rows.values()]
    figure = Figure(LEFT + WIDTH + RIGHT, TOP + sum(heights) + 30)
    seconds = max(report.map_s, 0.001)
    figure.words(
        LEFT,
        TOP - 12,
        f"{report.run}: {report.chunks} chunks in {seconds:.1f} s on"
        f" {len(report.nodes)} nodes, efficiency {report.efficiency:.0%}",
    )
    y = float(TOP)
    _draw_axis(figure, seconds, y + sum(heights))
    for number, node in enumerate(report.nodes):
        _draw_node(
            figure,
            node,
            rows[node.name],
            y=y,
            px_per_s=WIDTH / seconds,
            colour=COLOURS[number % len(COLOURS)],
        )
        y += heights[number]
    return figure


def lanes(spans: Iterable[Span], slots: int) -> list[list[Span]]:
    """The spans in rows, as few overlapping as that many slots allow."""
    count = min(slots, MOST_ROWS)
    rows: list[list[Span]] = [[] for _ in range(count)]
    free = [(0.0, number) for number in range(count)]
    for span in sorted(spans):
        _, number = heapq.heappop(free)
        rows[number].append(span)
        heapq.heappush(free, (span[1], number))
    return rows


def _draw_node(
    figure: Figure,
    node: NodeReport,
    rows: Sequence[Sequence[Span]],
    *,
    y: float,
    px_per_s: float,
    colour: str,
) -> None:
    figure.words(LEFT - 8, y + BAR, node.name, "end")
    for row, spans in enumerate(rows):
        for start, end in merged(spans, APART_PX / px_per_s):
            width = max((end - start) * px_per_s - BETWEEN_PX, 0.5)
            top = y + row * BAR
            figure.box(LEFT + start * px_per_s, top, width, BAR - 2, colour)
    base = y + len(rows) * BAR + CPU
    figure.line([(LEFT, base), (LEFT + WIDTH, base)], "#cccccc")
    if node.cpu:
        figure.words(LEFT - 8, base - 2, "CPU", "end")
    points = [(LEFT + at * px_per_s, base - share * CPU) for at, share in node.cpu]
    figure.line(points, "#333333")


def merged(spans: Iterable[Span], apart: float) -> list[Span]:
    """Neighbours of a row that nobody could tell apart are one."""
    found: list[Span] = []
    for start, end in spans:
        if found and end - found[-1][0] < apart:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _draw_axis(figure: Figure, seconds: float, y: float) -> None:
    for part in range(6):
        x = LEFT + WIDTH * part / 5
        figure.line([(x, TOP), (x, y)], "#eeeeee")
        figure.words(x, y + 14, f"{seconds * part / 5:.3g} s", "middle")
