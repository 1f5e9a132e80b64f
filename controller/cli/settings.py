"""`edgectl settings list|set|unset`: what may be changed while a node runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import InputError
from controller.cli.pairs import parse

if TYPE_CHECKING:
    from controller.fleet.target import Target

app = typer.Typer(
    help="Settings of running nodes: the pool's memory, limits, throttles.",
    no_args_is_help=True,
)
Pairs = Annotated[
    list[str],
    typer.Argument(metavar="KEY=VALUE...", help="As pool.memory_mb=1024."),
]
Keys = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY]...", help="As pool.memory_mb.")
]
All = Annotated[bool, typer.Option("--all", help="Every override.")]

_COLUMNS = ("setting", "value", "from", "otherwise", "node")
_Shown = list[tuple["Target", dict[str, Any]]]


@app.command("list")
@with_target
async def list_settings(call: Call) -> None:
    """List the settings that may be changed, with where each comes from."""
    _show(call, await _ask(call, "GET"))


@app.command("set")
@with_target
async def set_settings(call: Call, pairs: Pairs) -> None:
    """Override settings: it counts at once, and after a restart."""
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"{pair}: expected KEY=VALUE")
    await _change(call, parse(pairs))


@app.command("unset")
@with_target
async def unset_settings(call: Call, keys: Keys = None, all_: All = False) -> None:
    """Take overrides back: what the node's file says counts again."""
    if bool(keys) == all_:
        raise InputError("name the settings, or all of them by --all")
    if all_:
        _show(call, await _ask(call, "DELETE"))
    else:
        await _change(call, dict.fromkeys(keys or ()))


async def _change(call: Call, changes: dict[str, Any]) -> None:
    _show(call, await _ask(call, "PATCH", changes))


async def _ask(call: Call, method: str, body: object = None) -> _Shown:
    from controller.fleet.fleet import on_all

    async with call.clients() as clients:
        return await on_all(
            clients, lambda c: c.edge("settings", method=method, body=body)
        )


def _show(call: Call, found: _Shown) -> None:
    rows = [
        (key, str(one["value"]), one["origin"], str(one.get("otherwise", "")), t.name)
        for t, settings in found
        for key, one in settings.items()
    ]
    nodes = [{"node": t.name, "settings": settings} for t, settings in found]
    call.out.table(_COLUMNS, rows, document=nodes)
