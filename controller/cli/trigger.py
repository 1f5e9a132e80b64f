"""`edgectl trigger create|get|fire|list|delete`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import Failed
from controller.cli.options import Limit, ParamFile, Params, where
from controller.cli.pairs import key_values, parameters, parse

app = typer.Typer(
    help="Triggers: what may happen, and what makes it.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="The trigger's name.")]


@app.command("create")
@with_target
async def create_trigger(
    call: Call,
    name: Name,
    feed: Annotated[
        str | None,
        typer.Option(
            metavar="FEED",
            help="The feed that fires it: /whisk.system/mqtt/subscribe, …",
        ),
    ] = None,
    param: Params = None,
    param_file: ParamFile = None,
    trigger_param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="With --feed: a parameter of the trigger itself."
        ),
    ] = None,
) -> None:
    """Create a trigger, on every node; with --feed on one node, the first or --node.

    With --feed the parameters (-p, -P) are the feed's.
    """
    from controller.fleet.feeds import create_feed_trigger
    from controller.fleet.fleet import on_all
    from controller.fleet.wire import TriggerBody

    given = parameters(param_file, param or ())
    own = parse(trigger_param or ())
    async with call.clients() as clients:
        if feed is None:
            body = TriggerBody(parameters=key_values({**given, **own}))
            created = await on_all(
                clients, lambda c: c.put_trigger(name, body, overwrite=False)
            )
        else:
            first = clients[0]
            made = await create_feed_trigger(
                first, name, feed, given, trigger_parameters=own
            )
            created = [(first.target, made)]
    call.out.ok(f"created trigger {name}{where(target for target, _ in created)}")
    if call.out.json:
        call.out.document(created[0][1])


@app.command("get")
@with_target
async def get_trigger(call: Call, name: Name) -> None:
    """Show a trigger with its rules; of a feed's trigger also what the feed says."""
    import msgspec

    from controller.fleet.feeds import FeedError, call_feed
    from controller.fleet.fleet import first_found
    from controller.fleet.transport import OpenWhiskError

    async with call.clients() as clients:
        target, found = await first_found(clients, lambda c: c.get_trigger(name))
        shown: dict[str, Any] = msgspec.to_builtins(found)
        feed = found.annotation("feed")
        if feed:
            client = next(c for c in clients if c.target is target)
            try:
                said = await call_feed(client, feed, "READ", name)
            except (FeedError, OpenWhiskError) as error:
                call.out.warn(str(error))
            else:
                shown["feed"] = msgspec.json.decode(said)
    call.out.document(shown)


@app.command("fire")
@with_target
async def fire_trigger(
    call: Call, name: Name, param: Params = None, param_file: ParamFile = None
) -> None:
    """Fire a trigger on the least loaded node that is up. Prints the activation id."""
    import msgspec

    from controller.fleet.fleet import least_loaded

    payload = msgspec.json.encode(parameters(param_file, param or ()))
    async with call.clients() as clients:
        client = await least_loaded(clients)
        activation_id = await client.fire(name, payload)
    place = where([client.target])
    if activation_id is None:
        call.out.warn(f"fired {name}{place}, but it has no active rule: nothing runs")
    else:
        call.out.ok(f"triggered {name}{place}")
    if call.out.json:
        call.out.document({"activationId": activation_id, "node": client.target.name})
    elif activation_id:
        call.out.text(activation_id)


@app.command("list")
@with_target
async def list_triggers(call: Call, limit: Limit = 1000) -> None:
    """List the triggers of the target."""
    from controller.fleet.fleet import on_all

    async with call.clients() as clients:
        found = await on_all(clients, lambda c: c.list_triggers(limit=limit))
    rows = [
        {
            "node": target.name,
            "name": item.name,
            "namespace": item.namespace,
            "version": item.version,
            "feed": item.annotation("feed"),
        }
        for target, items in found
        for item in items
    ]
    call.out.table(
        ["trigger", "feed", "version", "node"],
        [[r["name"], r["feed"] or "", r["version"], r["node"]] for r in rows],
        document=rows,
    )


@app.command("delete")
@with_target
async def delete_trigger(call: Call, name: Name) -> None:
    """Delete a trigger from every node that has it; its feed is told."""
    from controller.fleet import feeds
    from controller.fleet.fleet import on_each

    async with call.clients() as clients:
        done = await on_each(clients, lambda c: feeds.delete_trigger(c, name))
    gone = [each.target for each in done if each.error is None]
    if not gone:
        raise Failed(str(done[0].error)) from done[0].error
    call.out.ok(f"deleted trigger {name}{where(gone)}")
    if call.out.json:
        call.out.document({"deleted": name, "nodes": [t.name for t in gone]})
