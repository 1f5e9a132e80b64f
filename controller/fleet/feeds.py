"""Triggers that a feed fires, and messages that run actions (H21).

A feed is an action that is told of a trigger's life: it is invoked with
`lifecycleEvent`, `triggerName` and `authKey` beside the user's own parameters. What
is done in several steps is undone when one of them fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from controller.fleet.client import Client
from controller.fleet.transport import OpenWhiskError
from controller.fleet.wire import RuleBody, RuleView, TriggerBody, TriggerView
from edge_agent.model.activations import Status
from edge_agent.model.entities import KeyValue
from edge_agent.model.errors import EdgeWhiskError

MQTT_FEED = "/whisk.system/mqtt/subscribe"


class FeedError(EdgeWhiskError):
    """The feed would not do it; the text is the feed's."""

    def __init__(self, feed: str, event: str, text: str, *, refused: bool) -> None:
        """`refused`: it answered, an application error: what it was told is wrong."""
        super().__init__(f"feed {feed} refused {event}: {text}")
        self.exit_code = 2 if refused else 1


async def call_feed(
    client: Client,
    feed: str,
    event: str,
    trigger: str,
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """Tell `feed` of `event` (CREATE, READ, UPDATE, DELETE); its answer's JSON text.

    Raises:
        FeedError: the feed answered with an error.
        OpenWhiskError: there is no such feed.
    """
    told = {
        **(parameters or {}),
        "lifecycleEvent": event,
        "triggerName": rooted(trigger),
        "authKey": client.target.key,
    }
    outcome = await client.invoke(feed, msgspec.json.encode(told))
    if not outcome.success:
        response = outcome.response
        refused = response is not None and response.code is Status.APPLICATION_ERROR
        text = _error_of(bytes(outcome.result))
        raise FeedError(feed, event, text, refused=refused)
    return bytes(outcome.result)


async def create_feed_trigger(
    client: Client,
    name: str,
    feed: str,
    parameters: Mapping[str, Any],
    *,
    trigger_parameters: Mapping[str, Any] | None = None,
) -> TriggerView:
    """A trigger that `feed` fires; without the feed's consent there is no trigger.

    Raises:
        OpenWhiskError: 409 when it exists.
        FeedError: the feed refused its parameters.
    """
    body = TriggerBody(
        annotations=[KeyValue(key="feed", value=feed)],
        parameters=_key_values(trigger_parameters or {}),
    )
    async with undoing() as undo:
        trigger = await client.put_trigger(name, body, overwrite=False)
        undo.push_async_callback(_quietly, client.delete_trigger, name)
        await call_feed(client, feed, "CREATE", name, parameters)
        undo.pop_all()
    return trigger


async def delete_trigger(client: Client, name: str) -> None:
    """Delete it; its feed is told first, and need not like it."""
    trigger = await client.get_trigger(name)
    feed = trigger.annotation("feed")
    if isinstance(feed, str) and feed:
        with suppress(OpenWhiskError, FeedError):
            await call_feed(client, feed, "DELETE", name)
    await client.delete_trigger(name)


@dataclass(frozen=True, slots=True)
class Wired:
    trigger: TriggerView
    rule: RuleView


async def wire(
    client: Client,
    name: str,
    *,
    feed: str,
    parameters: Mapping[str, Any],
    action: str,
    annotations: Mapping[str, Any] | None = None,
) -> Wired:
    """Trigger, feed and rule, all named `name` and `name-rule`, or nothing at all.

    Raises:
        OpenWhiskError: 404 when there is no such action, 409 when the name is taken.
        FeedError: the feed refused.
    """
    await client.get_action(action, code=False)
    async with undoing() as undo:
        trigger = await create_feed_trigger(client, name, feed, parameters)
        undo.push_async_callback(_quietly, delete_trigger, client, name)
        body = RuleBody(
            trigger=rooted(name),
            action=rooted(action),
            annotations=_key_values(annotations or {}),
        )
        rule = await client.put_rule(f"{name}-rule", body, overwrite=False)
        undo.pop_all()
    return Wired(trigger, rule)


@asynccontextmanager
async def undoing() -> AsyncIterator[AsyncExitStack]:
    """Runs what was pushed when the block fails; `pop_all` when all is well."""
    async with AsyncExitStack() as stack:
        yield stack


async def _quietly(do: Any, *arguments: Any) -> None:
    with suppress(OpenWhiskError, FeedError):
        await do(*arguments)


def rooted(name: str) -> str:
    """`name` -> `/_/name`, as wsk types it."""
    return name if name.startswith("/") else f"/_/{name}"


def _key_values(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _error_of(result: bytes) -> str:
    try:
        found = msgspec.json.decode(result)
    except msgspec.MsgspecError:
        return result.decode(errors="replace")
    said = found.get("error") if isinstance(found, dict) else found
    return said if isinstance(said, str) else msgspec.json.encode(said).decode()
