"""`edgectl target` and `edgectl target use NAME`: whom commands talk to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from controller.cli.output import Output
    from controller.fleet.target import Target


@with_target
async def target(call: Call, ctx: typer.Context) -> None:
    """Show which nodes a command would talk to, why those, and whether they answer."""
    if ctx.invoked_subcommand is not None:
        return
    from controller.fleet.client import NO_RETRY
    from controller.fleet.fleet import on_each

    chosen = call.chosen()
    async with call.clients(retry=NO_RETRY, timeout_s=5) as clients:
        done = await on_each(clients, lambda c: c.list_actions(limit=1))
    rows: list[dict[str, Any]] = [
        {
            "name": each.target.name,
            "url": each.target.url,
            "answers": each.error is None,
            "reason": None if each.error is None else str(each.error),
        }
        for each in done
    ]
    call.out.say(f"from {chosen.origin}:")
    call.out.table(
        ("node", "url", "answers"),
        [(r["name"], r["url"], r["reason"] or "yes") for r in rows],
        document={"origin": chosen.origin, "targets": rows},
    )
    if any(each.error for each in done):
        raise typer.Exit(1)


app = typer.Typer(invoke_without_command=True, callback=target)


@app.command("use")
@with_target
def use(
    call: Call,
    name: Annotated[
        str,
        typer.Argument(help="A host of the inventory, a local node, or a target."),
    ],
) -> None:
    """Let `wsk`, and edgectl without options, talk to NAME from now on.

    Writes ~/.wskprops, or the file that WSK_CONFIG_FILE names; its other lines stay.
    NAME may also be an entry of ~/.config/edgewhisk/targets.toml.
    """
    from controller.fleet.named import find_named
    from controller.fleet.private import write_private
    from controller.fleet.properties import (
        properties_of,
        properties_place,
        with_properties,
    )

    home = Path.home()
    found = find_named(name, call.choice, environ=os.environ, home=home)
    place = properties_place(os.environ, home)
    before = place.read_text() if place.exists() else ""
    write_private(place, with_properties(before, properties_of(found)))
    call.out.ok(f"{place} names {found.name} ({found.url})")
    _say_of_certificate(call.out, found)
    if call.out.json:
        call.out.document({"name": found.name, "url": found.url, "file": str(place)})


def _say_of_certificate(out: Output, found: Target) -> None:
    """`wsk` trusts the system's authorities alone, or with -i anybody."""
    if found.insecure:
        out.say("its certificate is not checked: call wsk with -i")
    elif found.ca is not None:
        out.say(f"wsk checks its certificate with: SSL_CERT_FILE={found.ca} wsk ...")
        out.say("or not at all, with: wsk -i ...")
