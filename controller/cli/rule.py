"""`edgectl rule create|get|list|enable|disable|delete`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.cli.action import delete_everywhere
from controller.cli.call import Call, with_target
from controller.cli.options import Annotations, Limit, where
from controller.cli.pairs import key_values, parse

app = typer.Typer(help="Rules: which trigger runs which action.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The rule's name.")]


@app.command("create")
@with_target
async def create_rule(
    call: Call,
    name: Name,
    trigger: Annotated[str, typer.Argument(help="The trigger.")],
    action: Annotated[str, typer.Argument(help="The action: NAME or PKG/NAME.")],
    annotation: Annotations = None,
) -> None:
    """Create an active rule on every node of the target that has the trigger.

    With the annotation mqtt-result-topic each result is published to that topic.
    """
    from controller.fleet.feeds import rooted
    from controller.fleet.fleet import on_all, on_each
    from controller.fleet.wire import RuleBody

    body = RuleBody(
        trigger=rooted(trigger),
        action=rooted(action),
        annotations=key_values(parse(annotation or ())),
    )
    async with call.clients() as clients:
        asked = await on_each(clients, lambda c: c.get_trigger(trigger))
        having = [c for c, each in zip(clients, asked, strict=True) if not each.error]
        done = await on_all(
            having or clients, lambda c: c.put_rule(name, body, overwrite=False)
        )
    call.out.ok(f"created rule {name}{where(target for target, _ in done)}")
    if call.out.json:
        call.out.document(done[0][1])


@app.command("get")
@with_target
async def get_rule(call: Call, name: Name) -> None:
    """Show a rule."""
    call.out.document(await call.first(lambda c: c.get_rule(name)))


@app.command("list")
@with_target
async def list_rules(call: Call, limit: Limit = 1000) -> None:
    """List the rules of the target with their status."""
    from controller.fleet.fleet import on_all

    async with call.clients() as clients:
        found = await on_all(clients, lambda c: _with_status(c, limit))
    rows = [{"node": target.name, **row} for target, listed in found for row in listed]
    call.out.table(
        ["rule", "trigger", "action", "status", "node"],
        [[r["name"], r["trigger"], r["action"], r["status"], r["node"]] for r in rows],
        document=rows,
    )


@app.command("enable")
@with_target
async def enable_rule(call: Call, name: Name) -> None:
    """Make a rule active again."""
    await _set(call, name, active=True)


@app.command("disable")
@with_target
async def disable_rule(call: Call, name: Name) -> None:
    """Let a rule rest: its trigger no longer runs its action."""
    await _set(call, name, active=False)


@app.command("delete")
@with_target
async def delete_rule(call: Call, name: Name) -> None:
    """Delete a rule from every node that has it."""
    await delete_everywhere(call, "rule", name)


async def _set(call: Call, name: str, *, active: bool) -> None:
    from controller.cli.errors import Failed
    from controller.fleet.fleet import on_each

    async with call.clients() as clients:
        done = await on_each(clients, lambda c: c.set_rule(name, active=active))
    changed = [each.target for each in done if each.error is None]
    if not changed:
        raise Failed(str(done[0].error)) from done[0].error
    word = "enabled" if active else "disabled"
    call.out.ok(f"{word} rule {name}{where(changed)}")
    if call.out.json:
        status = "active" if active else "inactive"
        call.out.document({"name": name, "status": status})


async def _with_status(client: Any, limit: int) -> list[dict[str, Any]]:
    """A list has no status (B26): one GET for each rule, as wsk does."""
    import asyncio

    listed = await client.list_rules(limit=limit)
    rules = await asyncio.gather(*(client.get_rule(item.name) for item in listed))
    return [
        {
            "name": rule.name,
            "namespace": rule.namespace,
            "trigger": rule.trigger.full_name.within,
            "action": rule.action.full_name.within,
            "status": rule.status,
        }
        for rule in rules
    ]
