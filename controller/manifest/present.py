"""What a node has, as far as a plan needs to know it: four lists, no entity's body."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from controller.fleet.client import Client
from controller.fleet.wire import ActionItem
from controller.manifest.desired import MANAGED, Key
from controller.manifest.plan import Present
from edge_agent.model.entities import Entity

#: More than any node has.
EVERYTHING = 100_000


async def read_present(client: Client) -> dict[Key, Present]:
    """Everything in the target's namespace.

    Raises:
        OpenWhiskError: the node refuses or is away.
    """
    packages, actions, triggers, rules = await asyncio.gather(
        client.list_packages(limit=EVERYTHING),
        client.list_actions(limit=EVERYTHING),
        client.list_triggers(limit=EVERYTHING),
        client.list_rules(limit=EVERYTHING),
    )
    return {
        **_of("packages", packages),
        **_of("actions", actions),
        **_of("triggers", triggers),
        **_of("rules", rules),
    }


def _of(collection: str, entities: Iterable[Entity]) -> dict[Key, Present]:
    return {Key(collection, _name(entity)): _present(entity) for entity in entities}


def _name(entity: Entity) -> str:
    name = entity.full_name
    return f"{name.package}/{name.name}" if name.package else name.name


def _present(entity: Entity) -> Present:
    said = entity.annotation(MANAGED)
    said = said if isinstance(said, dict) else {}
    project = said.get("projectName")
    feed = entity.annotation("feed")
    return Present(
        version=entity.version,
        project=project if isinstance(project, str) else None,
        digest=str(said.get("projectHash", "")),
        written=str(said.get("version", "")),
        feed=feed if isinstance(feed, str) else "",
        limits=entity.limits if isinstance(entity, ActionItem) else None,
    )
