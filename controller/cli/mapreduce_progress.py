"""How a map-reduce run goes, while it goes, on stderr.

On a terminal a bar and a line for each node, redrawn; elsewhere a line now and then.

    with Display(unit="points") as display:
        await run_job(..., on_progress=display.show)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from controller.cli.output import on_terminal, talk
from controller.mapreduce.progress import NodeProgress, NodeState, Progress

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

#: Between two plain lines.
LINE_EVERY_S = 5.0
BAR_WIDTH = 40
_STYLES = {
    NodeState.JOINING: "yellow",
    NodeState.WORKING: "green",
    NodeState.DOWN: "red",
    NodeState.UNFIT: "red",
}


class Display:
    """Show a run until left. `unit`: what the job counts, `chunks` when nothing."""

    def __init__(
        self,
        unit: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unit = unit or "chunks"
        self._live: Live | None = None
        self._clock = clock
        self._line_at = clock()

    def __enter__(self) -> Self:
        if on_terminal(sys.stderr):
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def show(self, progress: Progress) -> None:
        if self._live is not None:
            self._live.update(_picture(progress, self._unit), refresh=True)
            return
        now = self._clock()
        if now - self._line_at >= LINE_EVERY_S:
            self._line_at = now
            talk("", line(progress, self._unit))


def line(progress: Progress, unit: str) -> str:
    """`24/64 chunks, 6 in flight, 57.1 M points/s, 3 nodes, 0 retries, 4 s left`."""
    working = sum(node.state is NodeState.WORKING for node in progress.nodes)
    parts = [
        f"{progress.completed}/{progress.chunks} chunks",
        f"{progress.in_flight} in flight",
        f"{scaled(progress.items_per_s)} {unit}/s",
        f"{working} of {len(progress.nodes)} nodes",
        f"{progress.retries} retries",
    ]
    if progress.backups:
        parts.append(f"{progress.backups} backups")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return ", ".join(parts)


def scaled(value: float) -> str:
    """`57.1 M`: three digits and a prefix."""
    for limit, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{prefix}"
    return f"{value:.3g}"


def _picture(progress: Progress, unit: str) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    nodes = Table.grid(padding=(0, 2))
    for node in progress.nodes:
        state = Text(node.state, style=_STYLES[node.state])
        nodes.add_row(Text(f"  {node.name}"), state, Text(_doing(node, unit)))
    run = Table.grid()
    run.add_row(ProgressBar(progress.chunks, progress.completed, width=BAR_WIDTH))
    run.add_row(Text(line(progress, unit)))
    return Group(run, nodes)


def _doing(node: NodeProgress, unit: str) -> str:
    if node.trouble:
        return node.trouble
    return (
        f"{node.chunks} chunks, {node.in_flight} in flight on {node.slots} slots,"
        f" {scaled(node.items_per_s)} {unit}/s"
    )
