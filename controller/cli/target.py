"""`edgectl target`: whom the other commands would talk to."""

from __future__ import annotations

from typing import Any

import typer

from controller.cli.call import Call, with_target


@with_target
async def target(call: Call) -> None:
    """Show which nodes a command would talk to, why those, and whether they answer."""
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
