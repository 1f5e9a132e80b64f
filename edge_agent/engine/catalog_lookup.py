"""Finding entities by name, and who may touch which (A11, A52, A53, F5).

The rights of OpenWhisk are few: the owner has everything in the own namespace; others
may read and run what is in a published package, and nothing else. Built-in packages are
published packages of `whisk.system` that nobody may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from edge_agent.engine.bindings import (
    WRONG_COLLECTION,
    Opened,
    built_in,
    open_package,
    open_to_all,
    package_name,
)
from edge_agent.model.entities import Action, AnyEntity, Package, Rule, Trigger
from edge_agent.model.errors import Conflict, Forbidden, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

ALREADY_EXISTS = "resource already exists"

E = TypeVar("E", Action, Package, Trigger, Rule)


class Lookup:
    """The stored and the built-in entities, seen as one; changes nothing."""

    def __init__(
        self,
        entities: EntityStore,
        *,
        builtins: Mapping[FullName, Action],
        now_ms: Callable[[], int],
    ) -> None:
        self._entities = entities
        self._builtins = built_in(builtins)
        self._now_ms = now_ms
        self._last_ms = 0

    def next_ms(self) -> int:
        """The time of a change: later than any before it, so that order is kept."""
        self._last_ms = max(self._now_ms(), self._last_ms + 1)
        return self._last_ms

    def find(self, name: FullName) -> AnyEntity | None:
        return self._builtins.get(name) or self._entities.find(name)

    def get(self, cls: type[E], name: FullName) -> E:
        """The entity.

        Raises:
            NotFound: there is none. Conflict: it is of another collection (A11).
        """
        entity = self.find(name)
        if entity is None:
            raise NotFound
        if not isinstance(entity, cls):
            raise Conflict(WRONG_COLLECTION)
        return entity

    def to_put(self, cls: type[E], name: FullName, *, overwrite: bool) -> E | None:
        """The entity a PUT would change; None when it would make one.

        Raises:
            Conflict: it exists and may not be overwritten, or is of another collection.
        """
        entity = self.find(name)
        if entity is None:
            return None
        if not isinstance(entity, cls):
            raise Conflict(WRONG_COLLECTION)
        if not overwrite:
            raise Conflict(ALREADY_EXISTS)
        return entity

    def all_of(
        self, cls: type[E], namespace: str, *, package: str | None = None
    ) -> list[E]:
        """Newest first; the built-in ones come last."""
        found = self._entities.list(cls, namespace, package=package)
        for name, entity in self._builtins.items():
            inside = package is None or name.package == package
            if name.namespace == namespace and inside and isinstance(entity, cls):
                found.append(entity)
        return found

    def check_changeable(self, identity: Identity, name: FullName) -> None:
        """Raise Forbidden unless the entity is the caller's own and not built in."""
        if name.namespace != identity.namespace or self._is_builtin(name):
            raise Forbidden(str(name))

    def check_own(self, identity: Identity, namespace: str) -> None:
        """Raise Forbidden unless the namespace is the caller's."""
        if namespace != identity.namespace:
            raise Forbidden(namespace)

    def check_readable(self, identity: Identity, name: FullName) -> None:
        """Raise unless the caller may read and run the action called `name`."""
        package = package_name(name)
        if package is not None:
            self.open_package(identity, package)
        elif name.namespace != identity.namespace:
            raise Forbidden(str(name))

    def open_package(self, identity: Identity, name: FullName) -> Opened:
        """See `bindings.open_package`."""
        return open_package(self.find, identity, name)

    def readable_action(
        self, identity: Identity, name: FullName
    ) -> tuple[Action, Opened | None]:
        """The action called `name`, when the caller may read and run it.

        With the package it was found in: the action may be that of a provider.
        """
        package = package_name(name)
        if package is not None:
            opened = self.open_package(identity, package)
            return self.get(Action, opened.action_name(name)), opened
        if name.namespace != identity.namespace:
            raise Forbidden(str(name))
        return self.get(Action, name), None

    def open_packages(self, namespace: str) -> list[Package]:
        """What others see of a namespace (A43)."""
        return [p for p in self.all_of(Package, namespace) if open_to_all(p)]

    def _is_builtin(self, name: FullName) -> bool:
        package = package_name(name)
        return name in self._builtins or package in self._builtins
