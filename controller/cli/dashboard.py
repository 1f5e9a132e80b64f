"""`edgectl dashboard`: the fleet as a web page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from controller.dashboard.live import Live


@with_target
async def dashboard(
    call: Call,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where it listens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0: any that is free.")] = 8765,
    changes: Annotated[
        bool, typer.Option("--changes", help="Allow replay, drop and run, by key.")
    ] = False,
) -> None:
    """Serve a page that shows nodes, activations and events live, until Ctrl-C.

    On another address than loopback it asks for a key of the fleet. With --json one
    line with its URL is written when it serves.
    """
    from controller.dashboard.guard import Guard, is_loopback
    from controller.dashboard.live import Live
    from controller.dashboard.server import serve

    async with call.of_fleet().clients() as clients:
        keys = {client.target.key for client in clients}
        keys |= {key for c in clients if (key := c.target.system_key)}
        guard = Guard(frozenset(keys), loopback=is_loopback(host), changes=changes)
        live = Live(clients)
        async with serve(live, guard, host=host, port=port) as url:
            if call.out.json:
                call.out.document({"url": url})
            else:
                call.out.ok(f"{url} shows {len(clients)} node(s); Ctrl-C ends it")
            await _until_stopped(live)


async def _until_stopped(live: Live) -> None:
    import signal

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(live.run(), name="live")
        await stopped.wait()
        running.cancel()
