"""Packages as a caller may use them, and where a binding leads (B17, B21, F5).

A binding is another package under a name of one's own, with parameters laid over those
of the package it is bound to, its provider. Nothing can be bound to a binding, so one
step is the rule; a package that is deleted and made anew as a binding makes it two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from edge_agent.model.entities import Action, AnyEntity, KeyValue, Package
from edge_agent.model.errors import CircularBinding, Conflict, Forbidden, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

WRONG_COLLECTION = "Resource by this name exists but is not in this collection."

Find = Callable[[FullName], AnyEntity | None]


class Opened(NamedTuple):
    """A package that the caller may read: `packages` lead from it to the provider."""

    packages: tuple[Package, ...]

    @property
    def provider(self) -> Package:
        """Where the actions are: the package itself unless it is a binding."""
        return self.packages[-1]

    @property
    def binding(self) -> FullName | None:
        """The name of the binding, None when the package is none."""
        return self.packages[0].full_name if len(self.packages) > 1 else None

    @property
    def parameters(self) -> list[KeyValue]:
        """The provider's, overlaid by the binding's."""
        merged: list[KeyValue] = []
        for package in reversed(self.packages):
            merged = overlay(merged, package.parameters)
        return merged

    def action_name(self, name: FullName) -> FullName:
        """What an action of the package is called where it is."""
        if len(self.packages) == 1:
            return name
        provider = self.provider
        return FullName(provider.namespace, name.name, provider.name)


def open_package(find: Find, identity: Identity, name: FullName) -> Opened:
    """The package called `name`, when the caller may read what is in it.

    Raises:
        Forbidden: it is another's, or bound to another's, and that one is not
            published or not there at all.
        NotFound, Conflict: it, or what it is bound to, is the caller's own and
            missing, or no package. CircularBinding: it leads back to itself.
    """
    package = _own(find, name) if name.namespace == identity.namespace else None
    if package is None:
        return Opened((_published(find, name, named=name),))
    if package.binding is None:
        return Opened((package,))
    packages = [package]
    while (binding := packages[-1].binding) is not None:
        place = FullName(binding.namespace, binding.name)
        if place.namespace == identity.namespace:
            packages.append(_own(find, place))
        else:
            packages.append(_published(find, place, named=name))
        if packages[-1] in packages[:-1]:
            raise CircularBinding(str(name))
    return Opened(tuple(packages))


def overlay(under: list[KeyValue], over: list[KeyValue]) -> list[KeyValue]:
    """Merge by key; the later wins whole."""
    return list({entry.key: entry for entry in (*under, *over)}.values())


def package_name(name: FullName) -> FullName | None:
    """The name of the package that `name` is in."""
    return FullName(name.namespace, name.package) if name.package else None


def open_to_all(package: Package) -> bool:
    """Others may use it; a binding is its owner's alone."""
    return package.publish and package.binding is None


def built_in(actions: Mapping[FullName, Action]) -> dict[FullName, Action | Package]:
    """The built-in actions, and the published packages that they are in."""
    found: dict[FullName, Action | Package] = {**actions}
    for name, action in actions.items():
        package = package_name(name)
        if package is not None:
            found[package] = Package(
                namespace=package.namespace,
                name=package.name,
                version=action.version,
                publish=True,
                updated=action.updated,
            )
    return found


def _own(find: Find, name: FullName) -> Package:
    package = find(name)
    if package is None:
        raise NotFound
    if not isinstance(package, Package):
        raise Conflict(WRONG_COLLECTION)
    return package


def _published(find: Find, name: FullName, *, named: FullName) -> Package:
    """A package of somebody else's; a refusal names the one that was asked for."""
    package = find(name)
    if not isinstance(package, Package) or not open_to_all(package):
        raise Forbidden(str(named))
    return package
