"""The catalogue: the entity use cases of the REST API, one object for each collection.

What a change *means* is decided by pure functions (`decide_action` and its neighbours:
existing entity and body in, new entity or error out); the classes around them look
things up, write, and return once the change is on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from edge_agent.engine.catalog_actions import Actions
from edge_agent.engine.catalog_kinds import Kinds
from edge_agent.engine.catalog_lookup import Lookup
from edge_agent.engine.catalog_packages import Packages
from edge_agent.engine.catalog_rules import CheckRule, Rules
from edge_agent.engine.catalog_triggers import Triggers
from edge_agent.engine.limits import Limits
from edge_agent.model.entities import Action
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore


def _wall_ms() -> int:
    return int(time.time() * 1000)


class Catalog:
    """Entities as users see them: who may do what, versions, merges, limits."""

    def __init__(
        self,
        entities: EntityStore,
        *,
        kinds: Kinds,
        limits: Limits,
        builtins: Mapping[FullName, Action] | None = None,
        check_rule: CheckRule = lambda _: None,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        lookup = Lookup(entities, builtins=builtins or {}, now_ms=now_ms)
        self.kinds = kinds
        self._lookup = lookup
        self.actions = Actions(entities, lookup, kinds=kinds, limits=limits)
        self.triggers = Triggers(entities, lookup, limits=limits)
        self.rules = Rules(entities, lookup, limits=limits, check=check_rule)
        self.packages = Packages(entities, lookup, limits=limits)

    def check_changeable(self, identity: Identity, name: FullName) -> None:
        """Raise Forbidden unless the entity is the caller's own and not built in."""
        self._lookup.check_changeable(identity, name)

    def check_readable(self, identity: Identity, name: FullName) -> None:
        """Raise unless the caller may read and run the action called `name`."""
        self._lookup.check_readable(identity, name)
