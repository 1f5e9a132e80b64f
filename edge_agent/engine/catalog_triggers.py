"""Triggers of the catalogue (A33-A35, B22-B24)."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from edge_agent.engine.catalog_bodies import TriggerPut, read_trigger
from edge_agent.engine.catalog_lookup import Lookup
from edge_agent.engine.catalog_sizes import check_entries
from edge_agent.engine.limits import Limits
from edge_agent.engine.options import check_options
from edge_agent.model.entities import FIRST_VERSION, Rule, Trigger, next_version
from edge_agent.model.errors import BadRequest, IllegalName
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore


def decide_trigger(
    existing: Trigger | None, put: TriggerPut, *, name: FullName, now_ms: int
) -> Trigger:
    """The trigger that a PUT leaves behind.

    Raises:
        BadRequest: a new trigger has a `feed` that is no path; an update may (A61f).
    """
    if existing is None:
        existing = Trigger(namespace=name.path, name=name.name)
        version = FIRST_VERSION
        _check_feed(put)
    else:
        version = next_version(existing.version)
    annotations, parameters = put.annotations, put.parameters
    return replace(
        existing,
        version=put.version or version,
        publish=existing.publish if put.publish is None else put.publish,
        annotations=existing.annotations if annotations is None else annotations,
        parameters=existing.parameters if parameters is None else parameters,
        updated=now_ms,
    )


class Triggers:
    """The use cases. A trigger comes back with its rules, which the wire shows."""

    def __init__(
        self, entities: EntityStore, lookup: Lookup, *, limits: Limits
    ) -> None:
        self._entities = entities
        self._lookup = lookup
        self._limits = limits

    async def put(
        self, identity: Identity, name: FullName, body: bytes, *, overwrite: bool
    ) -> tuple[Trigger, list[Rule]]:
        self._lookup.check_changeable(identity, name)
        put = read_trigger(body)
        check_entries(put, limit=self._limits.system.payload_bytes)
        existing = self._lookup.to_put(Trigger, name, overwrite=overwrite)
        now_ms = self._lookup.next_ms()
        trigger = decide_trigger(existing, put, name=name, now_ms=now_ms)
        check_options(trigger)
        await self._entities.put(trigger)
        return trigger, self._entities.rules_of(name)

    def get(self, identity: Identity, name: FullName) -> tuple[Trigger, list[Rule]]:
        self._lookup.check_changeable(identity, name)
        return self._lookup.get(Trigger, name), self._entities.rules_of(name)

    async def delete(
        self, identity: Identity, name: FullName
    ) -> tuple[Trigger, list[Rule]]:
        """The trigger and its rules as they were.

        The rules stay, switched off: upstream keeps a rule's status on the trigger, so
        a trigger made anew under the old name does not wake them.
        """
        trigger, rules = self.get(identity, name)
        writes = [
            self._entities.put(replace(r, active=False)) for r in rules if r.active
        ]
        await asyncio.gather(*writes, self._entities.delete(trigger))
        return trigger, rules

    def all(self, identity: Identity, namespace: str) -> list[Trigger]:
        self._lookup.check_own(identity, namespace)
        return self._lookup.all_of(Trigger, namespace)


def _check_feed(put: TriggerPut) -> None:
    feeds = [a.value for a in put.annotations or [] if a.key == "feed"]
    for feed in feeds:
        try:
            if not isinstance(feed, str):
                raise BadRequest("Feed name is not valid")
            FullName.parse(feed, own="_")
        except IllegalName as error:
            raise BadRequest("Feed name is not valid") from error
