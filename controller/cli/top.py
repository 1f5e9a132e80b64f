"""`edgectl top`: the fleet at a terminal, as it lives."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.output import on_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from controller.dashboard.live import Live, Row
    from controller.fleet.status import NodeStatus

REDRAW_S = 0.5
#: Lines that the table of nodes and the frame need beside the activations.
FRAME = 9
_NODES = ("NODE", "STATE", "VERSION", "ISOLATION", "BUSY", "WARM", "INBOX")
_NODES_TOO = ("PER SECOND", "LOAD", "TEMP", "CLOCK")
_ROWS = ("TIME", "NODE", "ACTION", "STATUS", "TOOK", "WAITED", "START", "ID")
_GOOD = "success"


@with_target
async def top(
    call: Call,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once instead of live.")
    ] = False,
) -> None:
    """Show nodes and activations live, until Ctrl-C.

    Where the output is no terminal, with --once or --json, it is shown once.
    """
    from controller.dashboard.live import Live

    asked = call.of_fleet()
    async with asked.clients() as clients:
        live = Live(clients)
        if once or call.out.json or not on_terminal(sys.stdout):
            await live.refresh()
            _show_once(call, live)
        else:
            await _show(live)
    if not any(node.up for node in live.nodes.values()):
        raise typer.Exit(1)


def _show_once(call: Call, live: Live) -> None:
    nodes = [live.nodes[name] for name in live.clients]
    call.out.table(
        _NODES,
        [_cells(node)[: len(_NODES)] for node in nodes],
        document={"nodes": [asdict(node) for node in nodes]},
    )
    for node in nodes:
        if node.problem:
            call.out.warn(f"{node.name}: {node.problem}")


async def _show(live: Live) -> None:
    from rich.console import Console
    from rich.live import Live as Screen

    console = Console()
    running = asyncio.create_task(live.run(), name="live")
    try:
        with Screen(console=console, screen=True, auto_refresh=False) as screen:
            while not running.done():
                screen.update(_picture(live, console.height), refresh=True)
                await asyncio.wait({running}, timeout=REDRAW_S)
        await running
    finally:
        running.cancel()


def _picture(live: Live, height: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    nodes = Table(box=None, header_style="bold", expand=True)
    for name in (*_NODES, *_NODES_TOO):
        nodes.add_column(name, no_wrap=True)
    for name in live.clients:
        nodes.add_row(*_node(live, name))
    rows = Table(box=None, header_style="bold", expand=True)
    for name in _ROWS:
        rows.add_column(name, no_wrap=True)
    room = max(1, height - FRAME - len(live.clients))
    for row in list(live.rows)[: -room - 1 : -1]:
        rows.add_row(*_row(row), style="" if row.status == _GOOD else "red")
    now = time.strftime("%H:%M:%S")
    problems = [f"{n.name}: {n.problem}" for n in live.nodes.values() if n.problem]
    return Group(
        Text(f"{len(live.clients)} node(s), {now}   Ctrl-C ends it", style="dim"),
        nodes,
        Text("\n".join(problems), style="red"),
        Text("Activations", style="bold"),
        rows,
    )


def _node(live: Live, name: str) -> list[Any]:
    from rich.text import Text

    node = live.nodes.get(name)
    if node is None:
        return [Text(name), "..."]
    cells = _cells(node)
    cells.insert(len(_NODES), f"{live.rate_per_s(name):.1f}")
    state = Text(cells[1], style="green" if node.up else "red")
    return [Text(cells[0]), state, *map(Text, cells[2:])]


def _cells(node: NodeStatus) -> list[str]:
    busy = "" if node.slots is None else f"{node.running} of {node.slots}"
    heat = "" if node.temperature_c is None else f"{node.temperature_c:g} °C"
    skew = "" if node.skew_ms is None else f"{node.skew_ms:+.0f} ms"
    return [
        node.name,
        "up" if node.up else "down",
        node.version or "",
        node.isolation or "",
        busy,
        "" if node.warm is None else str(node.warm),
        "" if node.inbox is None else str(node.inbox),
        "" if node.load is None else f"{node.load:g}",
        heat,
        skew,
    ]


def _row(row: Row) -> list[Any]:
    """As text: an action's name must not be taken for markup."""
    from rich.text import Text

    start = "warm" if row.init_ms is None else f"cold {row.init_ms} ms"
    cells = (
        time.strftime("%H:%M:%S", time.localtime(row.start_ms / 1000)),
        row.node,
        row.action,
        row.status,
        "" if row.duration_ms is None else f"{row.duration_ms} ms",
        "" if row.wait_ms is None else f"{row.wait_ms} ms",
        start if row.duration_ms is not None else "trigger",
        row.id,
    )
    return [Text(cell) for cell in cells]
