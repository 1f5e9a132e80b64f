"""Packages of the catalogue (A40-A43, B16-B21)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from msgspec.structs import replace

from edge_agent.engine.bindings import overlay
from edge_agent.engine.catalog_bodies import PackagePut, read_package
from edge_agent.engine.catalog_lookup import Lookup
from edge_agent.engine.catalog_sizes import check_entries
from edge_agent.engine.limits import Limits
from edge_agent.model.entities import (
    FIRST_VERSION,
    Action,
    Binding,
    KeyValue,
    Package,
    next_version,
)
from edge_agent.model.errors import BadRequest, Conflict, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

#: The word for "no package" in the URLs of web actions.
RESERVED = "default"
_BINDING = "binding"


class Contents(NamedTuple):
    """A package and the actions in it, feeds included."""

    package: Package
    actions: list[Action]


def decide_package(
    existing: Package | None, put: PackagePut, *, name: FullName, now_ms: int
) -> Package:
    """The package that a PUT leaves behind; what is sent replaces what stands (B20).

    Raises:
        Conflict: a package would become a binding (A54d).
    """
    if existing is not None and put.binding and existing.binding is None:
        raise Conflict("Resource is a package and cannot be converted into a binding.")
    if existing is None:
        existing = Package(namespace=name.path, name=name.name)
        version = FIRST_VERSION
    else:
        version = next_version(existing.version)
    annotations, parameters = put.annotations, put.parameters
    binding = put.binding or existing.binding
    annotations = existing.annotations if annotations is None else annotations
    return replace(
        existing,
        version=put.version or version,
        publish=existing.publish if put.publish is None else put.publish,
        annotations=_annotations(annotations, binding),
        parameters=existing.parameters if parameters is None else parameters,
        binding=binding,
        updated=now_ms,
    )


class Packages:
    """The use cases."""

    def __init__(
        self, entities: EntityStore, lookup: Lookup, *, limits: Limits
    ) -> None:
        self._entities = entities
        self._lookup = lookup
        self._limits = limits

    async def put(
        self, identity: Identity, name: FullName, body: bytes, *, overwrite: bool
    ) -> Package:
        self._lookup.check_changeable(identity, name)
        if name.name == RESERVED:
            raise BadRequest(f"Package name '{RESERVED}' is reserved.")
        put = read_package(body, own=identity.namespace)
        check_entries(put, limit=self._limits.system.payload_bytes)
        existing = self._lookup.to_put(Package, name, overwrite=overwrite)
        now_ms = self._lookup.next_ms()
        package = decide_package(existing, put, name=name, now_ms=now_ms)
        if put.binding:
            self._check_provider(identity, put.binding)
        await self._entities.put(package)
        return package

    def get(self, identity: Identity, name: FullName) -> Contents:
        """The package and what is in it; of a binding, what it leads to (B17).

        Raises:
            NotFound: the caller has none of that name (A53a: the text names it).
        """
        if name.namespace == identity.namespace and self._lookup.find(name) is None:
            raise NotFound(str(name))
        opened = self._lookup.open_package(identity, name)
        package = replace(opened.packages[0], parameters=opened.parameters)
        return Contents(package, self._contents(opened.provider.full_name))

    async def delete(
        self, identity: Identity, name: FullName, *, force: bool
    ) -> Package:
        """Remove it; with `force` what is in it goes first.

        Raises:
            Conflict: it is not empty and `force` is false (A54c).
        """
        self._lookup.check_changeable(identity, name)
        package = self._lookup.get(Package, name)
        contents = self._contents(name)
        if contents and not force:
            raise Conflict(_not_empty(len(contents)))
        writes = [self._entities.delete(action) for action in contents]
        await asyncio.gather(*writes, self._entities.delete(package))
        return package

    def all(self, identity: Identity, namespace: str) -> list[Package]:
        """All of the caller's own; of other namespaces those open to all (A43)."""
        if namespace == identity.namespace:
            return self._lookup.all_of(Package, namespace)
        return self._lookup.open_packages(namespace)

    def _check_provider(self, identity: Identity, binding: Binding) -> None:
        """Raise unless it is a package that the caller may read (A54e, A61e, F5)."""
        name = FullName(binding.namespace, binding.name)
        provider = self._lookup.find(name)
        if name.namespace != identity.namespace:
            self._lookup.open_package(identity, name)
        elif provider is None:
            raise BadRequest("Binding references a package that does not exist.")
        elif not isinstance(provider, Package):
            raise Conflict("Cannot bind to a resource that is not a package.")
        elif provider.binding is not None:
            raise BadRequest("Cannot bind to another package binding.")

    def _contents(self, name: FullName) -> list[Action]:
        return self._lookup.all_of(Action, name.namespace, package=name.name)


def _annotations(sent: list[KeyValue], binding: Binding | None) -> list[KeyValue]:
    """A binding shows what it is bound to among its annotations, too (B17)."""
    if binding is None:
        return sent
    shown = {"namespace": binding.namespace, "name": binding.name}
    return overlay(sent, [KeyValue(key=_BINDING, value=shown)])


def _not_empty(count: int) -> str:
    noun = "entity" if count == 1 else "entities"
    return (
        f"Package not empty (contains {count} {noun}). "
        "Set force param or delete package contents."
    )
