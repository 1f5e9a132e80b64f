"""`edgectl on mqtt TOPIC ACTION`: from an event to an action in one step."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import InputError
from controller.cli.options import Params, where
from controller.cli.pairs import parse

app = typer.Typer(help="Let an event run an action, in one step.", no_args_is_help=True)


@app.callback()
def on() -> None:
    """Let an event run an action, in one step."""


@app.command("mqtt")
@with_target
async def on_mqtt(
    call: Call,
    topic: Annotated[str, typer.Argument(help="A topic filter: sensors/+/temp, …")],
    action: Annotated[str, typer.Argument(help="The action each message runs.")],
    name: Annotated[
        str | None, typer.Option(help="The trigger's name (default: from both).")
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Default: the node's own setting."),
    ] = None,
    result_topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Publish each result there."),
    ] = None,
    param: Params = None,
) -> None:
    """Run ACTION for each message on TOPIC: trigger, feed and rule, or none of them.

    One node listens: the first of the target, or --node. More parameters of the
    feed: -p KEY VALUE. Undo it with: edgectl trigger delete NAME.
    """
    from controller.fleet.feeds import MQTT_FEED, wire

    trigger = name or _name(topic, action)
    given = {**parse(param or ()), "topic": topic}
    if broker is not None:
        given["broker"] = broker
    annotations: dict[str, Any] = {}
    if result_topic is not None:
        if not result_topic or set("+#") & set(result_topic):
            raise InputError("--result-topic takes one topic, without + and #")
        annotations["mqtt-result-topic"] = result_topic
    async with call.clients() as clients:
        client = clients[0]
        wired = await wire(
            client,
            trigger,
            feed=MQTT_FEED,
            parameters=given,
            action=action,
            annotations=annotations,
        )
    call.out.ok(f"messages on {topic} run {action}{where([client.target])}")
    call.out.hint(
        f"undo: edgectl rule delete {wired.rule.name}, trigger delete {trigger}"
    )
    if call.out.json:
        node = client.target.name
        call.out.document(
            {"node": node, "trigger": wired.trigger.name, "rule": wired.rule.name}
        )


def _name(topic: str, action: str) -> str:
    """`sensors/+/temp`, `pkg/hello` -> `sensors-any-temp-hello`."""
    words = topic.replace("+", "any").replace("#", "all")
    plain = re.sub(r"[^A-Za-z0-9_@.]+", "-", words).strip("-.@") or "topic"
    return f"{plain}-{action.rpartition('/')[2]}"
