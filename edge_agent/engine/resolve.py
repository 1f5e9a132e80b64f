"""From a name to something that can be run: entity, merged parameters, environment.

Merging parameters is the same for every invocation of one revision of an action, so it
is done once and kept as long as action and package stay the same objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.model.entities import Action, KeyValue, Package
from edge_agent.model.errors import BadRequest, Conflict, Forbidden, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.names import SYSTEM_NAMESPACE, FullName
from edge_agent.store.entities import EntityStore

_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode

WRONG_COLLECTION = "Resource by this name exists but is not in this collection."


class Runnable(msgspec.Struct, frozen=True, eq=False):
    """An action ready to be given arguments.

    `defaults` are the merged parameters as JSON texts; `final` the keys a caller may
    not set (A73); `environment` the init parameters (C2).
    """

    action: Action
    package: Package | None
    defaults: dict[str, Raw]
    final: frozenset[str]
    environment: dict[str, str]

    def arguments(self, payload: bytes) -> bytes:
        """Lay the payload (JSON text of an object) over the defaults (A32).

        The text that comes back is one line: launchers read lines, and a newline
        outside a string is mere white space in JSON.

        Raises:
            BadRequest: the payload sets a final parameter.
        """
        if self.defaults:
            given = _fields.decode(payload)
            if self.final and not self.final.isdisjoint(given):
                raise BadRequest(
                    "Request defines parameters that are not allowed "
                    "(e.g., reserved properties)."
                )
            payload = _encode({**self.defaults, **given})
        return payload.replace(b"\n", b" ") if b"\n" in payload else payload


class Resolver:
    """Finds actions for a caller; owns the memory of merged ones."""

    def __init__(
        self, entities: EntityStore, builtins: Mapping[FullName, Action]
    ) -> None:
        self._entities = entities
        self._builtins = builtins
        self._known: dict[FullName, Runnable] = {}

    def __call__(self, identity: Identity, name: FullName) -> Runnable:
        """The runnable of that name.

        Raises:
            NotFound: there is none. Conflict: it is no action. Forbidden: it is in a
                package of another namespace that is not published.
        """
        builtin = self._builtins.get(name)
        if builtin is not None:
            return _merge(builtin, None)
        action, package = self._find(name)
        _check_entitled(identity, name, package)
        known = self._known.get(name)
        if known is None or known.action is not action or known.package is not package:
            known = self._known[name] = _merge(action, package)
        return known

    def forget(self, name: FullName) -> None:
        self._known.pop(name, None)

    def _find(self, name: FullName) -> tuple[Action, Package | None]:
        package = None
        if name.package is not None:
            package = self._entities.get(
                Package, FullName(name.namespace, name.package)
            )
            if package is None:
                raise NotFound
        entity = self._entities.find(name)
        if entity is None:
            self.forget(name)
            raise NotFound
        if not isinstance(entity, Action):
            raise Conflict(WRONG_COLLECTION)
        return entity, package


def _check_entitled(
    identity: Identity, name: FullName, package: Package | None
) -> None:
    if name.namespace in (identity.namespace, SYSTEM_NAMESPACE):
        return
    if package is None:
        raise Forbidden(str(name))
    if not package.publish:
        raise Forbidden(f"{name.namespace}/{name.package}")


def _merge(action: Action, package: Package | None) -> Runnable:
    inherited = package.parameters if package is not None else []
    merged: dict[str, KeyValue] = {p.key: p for p in (*inherited, *action.parameters)}
    arguments = {
        k: Raw(_encode(p.value)) for k, p in merged.items() if p.init is not True
    }
    environment = {k: _as_text(p.value) for k, p in merged.items() if p.init is True}
    final = frozenset(merged) if action.annotation("final") is True else frozenset()
    return Runnable(action, package, arguments, final, environment)


def _as_text(value: Any) -> str:
    """An init parameter in the environment (C2)."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
