"""`edgectl activation list|get|result|logs|tail`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.options import Limit

if TYPE_CHECKING:
    import asyncio

    from controller.fleet.client import Client
    from controller.fleet.target import Target
    from edge_agent.model.activations import ActivationRecord, ActivationSummary

app = typer.Typer(help="Activations: what has run, and how.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="The activation id.")]
OfAction = Annotated[
    str | None, typer.Option("--name", help="Only of this action: NAME or PKG/NAME.")
]

Ended = tuple["Target", "ActivationRecord"]

_WORDS = ("success", "application error", "developer error", "whisk error")
#: Of the cells of a line of `tail`, which cannot know the lines to come.
_WIDTHS = (8, 32, 20, 17, 8, 11, 0)
_COLUMNS = ("start", "activation", "action", "status", "duration", "wait", "node")


@app.command("list")
@with_target
async def list_activations(
    call: Call,
    name: OfAction = None,
    limit: Limit = 30,
    since: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Only those of the last SECONDS."),
    ] = None,
) -> None:
    """List the newest activations of all nodes of the target."""
    from controller.fleet.fleet import on_all

    after = None if since is None else int((time.time() - since) * 1000)
    async with call.clients() as clients:
        found = await on_all(
            clients,
            lambda c: c.list_activations(name=name, since=after, limit=min(limit, 200)),
        )
    newest = sorted(
        ((target, item) for target, items in found for item in items),
        key=lambda entry: -entry[1].start,
    )[:limit]
    call.out.table(
        _COLUMNS,
        [_row(target, item) for target, item in newest],
        document=[_listed(target, item) for target, item in newest],
    )


@app.command("get")
@with_target
async def get_activation(call: Call, activation_id: Id) -> None:
    """Show the record of an activation, whichever node has it."""
    call.out.document(await _record(call, activation_id))


@app.command("result")
@with_target
async def get_result(call: Call, activation_id: Id) -> None:
    """Show only the result of an activation."""
    call.out.document((await _record(call, activation_id)).response.result)


@app.command("logs")
@with_target
async def get_logs(call: Call, activation_id: Id) -> None:
    """Show what an activation printed."""
    record = await _record(call, activation_id)
    if call.out.json:
        call.out.document({"logs": record.logs})
    for line in () if call.out.json else record.logs:
        call.out.text(line)


@app.command("tail")
@with_target
async def tail(
    call: Call,
    name: OfAction = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many.")
    ] = None,
    logs: Annotated[
        bool, typer.Option("--logs", help="With the lines they printed.")
    ] = False,
) -> None:
    """Show activations of all nodes as they end, until Ctrl-C.

    With --json each line on stdout is one record.
    """
    import asyncio

    shown = 0
    ended: asyncio.Queue[Ended] = asyncio.Queue(1_000)
    async with call.clients() as clients, asyncio.TaskGroup() as group:
        call.out.hint(f"following {len(clients)} node(s); Ctrl-C ends it")
        following = [
            group.create_task(_follow(client, ended), name=f"tail-{client.target.name}")
            for client in clients
        ]
        while shown != count:
            target, record = await ended.get()
            if name is None or name in {record.name, _path(record)}:
                _show(call, target, record, logs=logs)
                shown += 1
        for task in following:
            task.cancel()


async def _record(call: Call, activation_id: str) -> ActivationRecord:
    return await call.first(lambda c: c.get_activation(activation_id))


async def _follow(client: Client, ended: asyncio.Queue[Ended]) -> None:
    from controller.fleet.follow import follow

    async for record in follow(client):
        await ended.put((client.target, record))


def _show(call: Call, target: Target, record: ActivationRecord, *, logs: bool) -> None:
    import msgspec

    from edge_agent.model.activations import summary

    if call.out.json:
        known = msgspec.json.decode(msgspec.json.encode(record))
        told = msgspec.json.encode({"node": target.name, **known})
        call.out.text(told.decode())
        return
    cells = zip(_row(target, summary(record)), _WIDTHS, strict=True)
    call.out.text("  ".join(f"{cell:<{width}}" for cell, width in cells).rstrip())
    for line in record.logs if logs else ():
        call.out.text(f"    {line}")


def _row(target: Target, item: ActivationSummary) -> tuple[str, ...]:
    return (
        time.strftime("%H:%M:%S", time.localtime(item.start / 1000)),
        item.activation_id,
        _path(item),
        _WORDS[item.status_code] if 0 <= item.status_code < len(_WORDS) else "?",
        f"{item.duration} ms" if isinstance(item.duration, int) else "trigger",
        _start(item),
        target.name,
    )


def _start(item: ActivationSummary) -> str:
    """`cold 12 ms`: an init took place; else how long it waited."""
    known = {a.key: a.value for a in item.annotations}
    if "initTime" in known:
        return f"cold {known['initTime']} ms"
    return f"warm {known['waitTime']} ms" if "waitTime" in known else ""


def _path(item: ActivationSummary | ActivationRecord) -> str:
    """`pkg/name` inside its namespace, from annotation `path` (B35)."""
    path = next((a.value for a in item.annotations if a.key == "path"), None)
    return path.partition("/")[2] if isinstance(path, str) else item.name


def _listed(target: Target, item: ActivationSummary) -> dict[str, Any]:
    import msgspec

    return {"node": target.name, **msgspec.to_builtins(item)}
