"""`edgectl events list|show|replay|drop|tail`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import Failed, InputError
from controller.cli.options import where

if TYPE_CHECKING:
    import asyncio

    from controller.fleet.client import Client
    from controller.fleet.target import Target
    from edge_agent.model.backlog import EventItem, Swept
    from edge_agent.model.delivery import Happening

app = typer.Typer(
    help="Accepted events: what waits, what died, and running it again.",
    no_args_is_help=True,
)
Id = Annotated[str, typer.Argument(metavar="ID", help="The activation id.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Activation ids.")
]
All = Annotated[
    bool, typer.Option("--all", help="Every dead letter of the nodes that are meant.")
]
OfReason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="REASON", help="With --all: failed, expired or poison."
    ),
]

Told = tuple["Target", "Happening"]
_COLUMNS = ("accepted", "activation", "action", "state", "runs", "error", "node")
_ERROR_CHARACTERS = 60


@app.command("list")
@with_target
async def list_events(
    call: Call,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters.")] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only what is still to run.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, help="At most so many of each node.")
    ] = 50,
) -> None:
    """List dead letters, then accepted events that wait, oldest first."""
    import msgspec

    from controller.fleet import events
    from controller.fleet.fleet import on_all

    if dead and waiting:
        raise InputError("--dead and --waiting exclude each other")
    state = "dead" if dead else "waiting" if waiting else ""
    async with call.clients() as clients:
        found = await on_all(
            clients, lambda c: events.list_events(c, state=state, limit=limit)
        )
    listed = [(target, item) for target, items in found for item in items]
    call.out.table(
        _COLUMNS,
        [_row(target, item) for target, item in listed],
        document=[{"node": t.name, **msgspec.to_builtins(item)} for t, item in listed],
    )


@app.command("show")
@with_target
async def show_event(call: Call, activation_id: Id) -> None:
    """Show an event with its arguments and every run it had."""
    import msgspec

    from controller.fleet import events
    from controller.fleet.fleet import first_found

    async with call.clients() as clients:
        target, view = await first_found(
            clients, lambda c: events.get_event(c, activation_id)
        )
    known = msgspec.json.decode(msgspec.json.encode(view))
    call.out.document({"node": target.name, **known})


@app.command("replay")
@with_target
async def replay_events(
    call: Call, ids: Ids = None, all_: All = False, reason: OfReason = None
) -> None:
    """Run dead letters again, each under the id of a new activation."""
    from controller.fleet import events
    from controller.fleet.fleet import first_found

    _check(ids, all_=all_, reason=reason)
    done: list[dict[str, Any]] = []
    async with call.clients() as clients:
        if all_:
            for target, swept in await _sweep(call, clients, "POST", reason):
                done += [_replayed(target, one) for one in swept.replayed]
        for activation_id in ids or ():
            replay = partial(events.replay_event, activation_id=activation_id)
            target, one = await first_found(clients, replay)
            done.append(_replayed(target, one))
    call.out.ok(f"replayed {len(done)} event(s)")
    call.out.table(
        ("event", "activation", "node"),
        [(one["replayOf"], one["activationId"], one["node"]) for one in done],
        document=done,
    )


@app.command("drop")
@with_target
async def drop_events(
    call: Call, ids: Ids = None, all_: All = False, reason: OfReason = None
) -> None:
    """Give events up: dead letters, or what waits (it gets a record that says so)."""
    from controller.fleet import events
    from controller.fleet.fleet import first_found

    _check(ids, all_=all_, reason=reason)
    dropped = 0
    async with call.clients() as clients:
        if all_:
            swept = await _sweep(call, clients, "DELETE", reason)
            dropped += sum(each.dropped for _, each in swept)
        for activation_id in ids or ():
            drop = partial(events.drop_event, activation_id=activation_id)
            await first_found(clients, drop)
            dropped += 1
    call.out.ok(f"dropped {dropped} event(s)")
    if call.out.json:
        call.out.document({"dropped": dropped})


@app.command("tail")
@with_target
async def tail_events(
    call: Call,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="End after so many.")
    ] = None,
) -> None:
    """Show what happens to events of all nodes, until Ctrl-C.

    With --json each line on stdout is one happening.
    """
    import asyncio

    told: asyncio.Queue[Told] = asyncio.Queue(1_000)
    async with call.clients() as clients, asyncio.TaskGroup() as group:
        call.out.hint(f"following {len(clients)} node(s); Ctrl-C ends it")
        following = [
            group.create_task(_follow(client, told), name=f"tail-{client.target.name}")
            for client in clients
        ]
        shown = 0
        while shown != count:
            _show(call, *await told.get())
            shown += 1
        for task in following:
            task.cancel()


def _check(ids: list[str] | None, *, all_: bool, reason: str | None) -> None:
    if bool(ids) == all_:
        raise InputError("name the events by their ids, or all dead letters by --all")
    if reason is not None and not all_:
        raise InputError("--reason goes with --all")


async def _sweep(
    call: Call, clients: list[Client], method: str, reason: str | None
) -> list[tuple[Target, Swept]]:
    """On every node; what one node could not do is told, and is our failure."""
    from controller.fleet import events
    from controller.fleet.fleet import on_each

    done = await on_each(clients, lambda c: events.sweep(c, method, reason=reason))
    swept = [(each.target, each.value) for each in done if each.value is not None]
    wrong = [(each.target, str(each.error)) for each in done if each.error]
    wrong += [(t, s.error) for t, s in swept if isinstance(s.error, str)]
    for target, error in wrong:
        call.out.warn(f"{error}{where([target])}")
    if wrong:
        counts = sum(len(s.replayed) + s.dropped for _, s in swept)
        raise Failed(f"not all dead letters: {counts} were done")
    return swept


def _replayed(target: Target, one: Any) -> dict[str, Any]:
    return {
        "node": target.name,
        "replayOf": one.replay_of,
        "activationId": one.activation_id,
    }


async def _follow(client: Client, told: asyncio.Queue[Told]) -> None:
    from controller.fleet.events import watch_events

    async for happening in watch_events(client):
        await told.put((client.target, happening))


def _show(call: Call, target: Target, happening: Happening) -> None:
    import msgspec

    if call.out.json:
        known = msgspec.to_builtins(happening)
        call.out.text(msgspec.json.encode({"node": target.name, **known}).decode())
        return
    details = [happening.status, happening.reason]
    if happening.after_ms:
        details.append(f"again in {happening.after_ms} ms")
    cells = (
        _clock(happening.at_ms),
        happening.event.ljust(8),
        happening.activation_id,
        happening.action,
        ", ".join(filter(None, details)),
        target.name,
    )
    call.out.text("  ".join(cells))


def _row(target: Target, item: EventItem) -> tuple[str, ...]:
    state = f"dead: {item.reason}" if item.state == "dead" else item.state
    error = item.error if isinstance(item.error, str) else ""
    return (
        _clock(item.accepted),
        item.activation_id,
        item.action,
        state,
        str(item.attempts),
        error[:_ERROR_CHARACTERS],
        target.name,
    )


def _clock(epoch_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(epoch_ms / 1000))
