"""Actions run by messages, for nodes that nobody can reach: behind NAT, on the move.

A message to `edge/NODE/invoke/ACTION` runs the action, with its object as arguments, if
the settings' `mqtt.invoke` has it; where that is empty, which it is by default, nothing
of this is there. The result goes to the response topic that an MQTT 5 message asks for.
What is not on the list is not even subscribed to.

These are subscriptions like a feed's, made from the settings and kept nowhere; their
ids begin with the namespace, as all do, and a word that no trigger's name can be.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.events.base import Subscription
from edge_agent.events.topics import Topic
from edge_agent.model.errors import BuiltinError, IllegalName
from edge_agent.model.names import FullName

#: No name of an entity begins with a colon.
MARK = "/:invoke/"


def invoke_topic(node: str, action: str) -> str:
    return f"edge/{node}/invoke/{action}"


def invoke_subscriptions(
    actions: Sequence[str], *, node: str, namespace: str, feed: str
) -> list[Subscription]:
    """One for each action of the list.

    Raises:
        BuiltinError: a name is none.
    """
    found = []
    for action in actions:
        try:
            name = FullName.parse(f"/{namespace}/{action}", own=namespace)
        except IllegalName as error:
            raise BuiltinError(f"mqtt.invoke: {action!r}: {error}") from error
        topic = str(Topic(invoke_topic(node, action)))
        found.append(
            Subscription(
                id=f"{namespace}{MARK}{name.within}",
                namespace=namespace,
                feed=feed,
                config={"topic": topic, "retained": "ignore"},
            )
        )
    return found


def is_invoking(subscription: str) -> bool:
    return MARK in subscription


def invoked_action(subscription: str) -> FullName | None:
    """The action that a subscription of ours runs; None for a trigger's."""
    namespace, mark, action = subscription.partition(MARK)
    if not mark:
        return None
    return FullName.parse(f"/{namespace}/{action}", own=namespace)
