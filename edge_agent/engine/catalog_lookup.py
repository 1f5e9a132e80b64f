"""Finding entities by name, and who may touch which (A11, A52, A53, F5).

The rights of OpenWhisk are few: the owner has everything in the own namespace; others
may read and run what is in a published package, and nothing else. Built-in packages are
published packages of `whisk.system` that nobody may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from edge_agent.model.entities import Action, AnyEntity, Package, Rule, Trigger
from edge_agent.model.errors import Conflict, Forbidden, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

WRONG_COLLECTION = "Resource by this name exists but is not in this collection."
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
        self._builtins: dict[FullName, Action | Package] = {**builtins}
        for name, action in builtins.items():
            package = package_name(name)
            if package is not None:
                self._builtins[package] = _builtin_package(package, action)
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
            self.readable_package(identity, package)
        elif name.namespace != identity.namespace:
            raise Forbidden(str(name))

    def readable_package(self, identity: Identity, name: FullName) -> Package:
        """The package called `name`, when the caller may read what is in it.

        Raises:
            Forbidden: it is another's and not published, or not there at all.
            NotFound, Conflict: it is the caller's own and missing, or no package.
        """
        if name.namespace == identity.namespace:
            return self.get(Package, name)
        package = self.find(name)
        if not isinstance(package, Package) or not _open_to_all(package):
            raise Forbidden(str(name))
        return package

    def readable_action(self, identity: Identity, name: FullName) -> Action:
        """The action called `name`, when the caller may read and run it."""
        self.check_readable(identity, name)
        return self.get(Action, name)

    def open_packages(self, namespace: str) -> list[Package]:
        """What others see of a namespace (A43)."""
        return [p for p in self.all_of(Package, namespace) if _open_to_all(p)]

    def _is_builtin(self, name: FullName) -> bool:
        package = package_name(name)
        return name in self._builtins or package in self._builtins


def package_name(name: FullName) -> FullName | None:
    """The name of the package that `name` is in."""
    return FullName(name.namespace, name.package) if name.package else None


def _open_to_all(package: Package) -> bool:
    return package.publish and package.binding is None


def _builtin_package(name: FullName, action: Action) -> Package:
    return Package(
        namespace=name.namespace,
        name=name.name,
        version=action.version,
        publish=True,
        updated=action.updated,
    )
