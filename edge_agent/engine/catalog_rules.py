"""Rules of the catalogue (A36-A39, B25-B27)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from edge_agent.engine.catalog_bodies import RulePut, read_rule, read_status, reference
from edge_agent.engine.catalog_lookup import Lookup
from edge_agent.engine.catalog_sizes import check_key_values
from edge_agent.engine.limits import Limits
from edge_agent.engine.options import check_options
from edge_agent.model.entities import (
    FIRST_VERSION,
    Rule,
    Trigger,
    next_version,
)
from edge_agent.model.errors import BadRequest, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

#: Raises BadRequest for what other rooms know to be wrong with a rule.
CheckRule = Callable[[Rule], None]

_INCOMPLETE = "rule requires a valid trigger and a valid action"
_NO_TRIGGER = "Only rules with existing triggers can be activated"


def decide_rule(
    existing: Rule | None, put: RulePut, *, name: FullName, now_ms: int
) -> Rule:
    """The rule that a PUT leaves behind; what was not sent is kept, its status too.

    Raises:
        BadRequest: trigger or action is neither sent nor standing.
    """
    trigger, action = put.trigger, put.action
    if existing is not None:
        trigger = trigger or existing.trigger.full_name
        action = action or existing.action.full_name
    if trigger is None or action is None:
        raise BadRequest(_INCOMPLETE)
    standing = [] if existing is None else existing.annotations
    publish = existing is not None and existing.publish
    version = FIRST_VERSION if existing is None else next_version(existing.version)
    return Rule(
        namespace=name.path,
        name=name.name,
        version=put.version or version,
        publish=publish if put.publish is None else put.publish,
        annotations=standing if put.annotations is None else put.annotations,
        updated=now_ms,
        trigger=reference(trigger),
        action=reference(action),
        active=existing is None or existing.active,
    )


class Rules:
    """The use cases. A rule whose trigger is gone is shown as inactive (A37)."""

    def __init__(
        self,
        entities: EntityStore,
        lookup: Lookup,
        *,
        limits: Limits,
        check: CheckRule,
    ) -> None:
        self._entities = entities
        self._lookup = lookup
        self._limits = limits
        self._check = check

    async def put(
        self, identity: Identity, name: FullName, body: bytes, *, overwrite: bool
    ) -> Rule:
        self._lookup.check_changeable(identity, name)
        put = read_rule(body, own=identity.namespace)
        limit = self._limits.system.payload_bytes
        check_key_values("annotations", put.annotations, limit=limit)
        existing = self._lookup.to_put(Rule, name, overwrite=overwrite)
        rule = decide_rule(existing, put, name=name, now_ms=self._lookup.next_ms())
        check_options(rule)
        self._check(rule)
        self._check_named(identity, rule)
        trigger = self._lookup.get(Trigger, rule.trigger.full_name)
        writes = [self._entities.put(rule)]
        if not trigger.had_rules:
            writes.append(self._entities.put(replace(trigger, had_rules=True)))
        await asyncio.gather(*writes)
        return rule

    def get(self, identity: Identity, name: FullName) -> Rule:
        self._lookup.check_changeable(identity, name)
        rule = self._lookup.get(Rule, name)
        return rule if self._has_trigger(rule) else replace(rule, active=False)

    async def set_status(self, identity: Identity, name: FullName, body: bytes) -> None:
        """Activate or deactivate (A39); to what it is already is no change."""
        self._lookup.check_changeable(identity, name)
        active = read_status(body)
        rule = self._lookup.get(Rule, name)
        if not self._has_trigger(rule):
            if active:
                raise NotFound(text=_NO_TRIGGER)
        elif rule.active != active:
            await self._entities.put(replace(rule, active=active))

    async def delete(self, identity: Identity, name: FullName) -> Rule:
        """The rule as it was, but inactive (A38)."""
        self._lookup.check_changeable(identity, name)
        rule = self._lookup.get(Rule, name)
        await self._entities.delete(rule)
        return replace(rule, active=False)

    def all(self, identity: Identity, namespace: str) -> list[Rule]:
        self._lookup.check_own(identity, namespace)
        return self._lookup.all_of(Rule, namespace)

    def _has_trigger(self, rule: Rule) -> bool:
        return isinstance(self._lookup.find(rule.trigger.full_name), Trigger)

    def _check_named(self, identity: Identity, rule: Rule) -> None:
        """Trigger and action exist, and the caller may read both (A61d, B27)."""
        trigger, action = rule.trigger.full_name, rule.action.full_name
        self._lookup.check_changeable(identity, trigger)
        if action.namespace != identity.namespace:
            self._lookup.check_readable(identity, action)
        try:
            self._lookup.get(Trigger, trigger)
        except NotFound as error:
            raise BadRequest(f"trigger /{trigger} does not exist") from error
        try:
            self._lookup.readable_action(identity, action)
        except NotFound as error:
            raise BadRequest(f"action /{action} does not exist") from error
