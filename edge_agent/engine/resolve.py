"""From a name to something that can be run: entity, merged parameters, environment.

Merging parameters is the same for every invocation of one revision of an action, so it
is done once and kept as long as action and packages stay the same objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from edge_agent.engine.bindings import (
    WRONG_COLLECTION,
    Opened,
    built_in,
    open_package,
    overlay,
    package_name,
)
from edge_agent.engine.builtins import BUILTIN_KIND
from edge_agent.engine.catalog_kinds import SEQUENCE
from edge_agent.engine.catalog_sequences import components_of
from edge_agent.model.entities import Action, AnyEntity, truthy
from edge_agent.model.errors import BadRequest, Conflict, Forbidden, NotFound
from edge_agent.model.jobs import Form, Identity, Job
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_FINAL_SET = (
    "Request defines parameters that are not allowed (e.g., reserved properties)."
)


class Runnable(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """An action ready to be given arguments.

    `opened` is the package it was found in. `defaults` are the merged parameters as
    JSON texts; `final` the keys a caller may not set (A73); `environment` the init
    parameters (C2); `components` those of a sequence.
    """

    action: Action
    opened: Opened | None
    form: Form
    defaults: dict[str, Raw]
    final: frozenset[str]
    environment: dict[str, str]
    components: tuple[FullName, ...]
    binding: FullName | None

    def arguments(self, payload: bytes) -> bytes:
        """Lay a caller's payload (JSON text of an object) over the defaults (A32).

        The text that comes back is one line: launchers read lines, and a newline
        outside a string is mere white space in JSON.

        Raises:
            BadRequest: the payload sets a final parameter.
        """
        if self.defaults:
            given = _fields.decode(payload)
            if self.final and not self.final.isdisjoint(given):
                raise BadRequest(_FINAL_SET)
            payload = _encode({**self.defaults, **given})
        return one_line(payload)

    def job(
        self,
        identity: Identity,
        arguments: bytes,
        *,
        activation_id: str,
        accepted_ns: int,
        accepted_ms: int,
        transaction_id: str,
        blocking: bool = False,
        cause: str | None = None,
    ) -> Job:
        return Job(
            activation_id=activation_id,
            action=self.action,
            identity=identity,
            arguments=arguments,
            accepted_ns=accepted_ns,
            accepted_ms=accepted_ms,
            transaction_id=transaction_id,
            environment=self.environment,
            blocking=blocking,
            binding=self.binding,
            cause=cause,
            form=self.form,
            components=self.components,
            defaults=self.defaults,
        )


class Resolver:
    """Finds actions for a caller; owns the memory of merged ones."""

    def __init__(
        self, entities: EntityStore, builtins: Mapping[FullName, Action]
    ) -> None:
        self._entities = entities
        self._builtins = built_in(builtins)
        self._known: dict[FullName, Runnable] = {}

    def __call__(self, identity: Identity, name: FullName) -> Runnable:
        """The runnable of that name.

        Raises:
            NotFound: there is none. Conflict: it is no action. Forbidden: it is not the
                caller's, and not in a published package; see `open_package`.
        """
        package = package_name(name)
        opened, place = None, name
        if package is not None:
            opened = open_package(self._find, identity, package)
            place = opened.action_name(name)
        elif name.namespace != identity.namespace:
            raise Forbidden(str(name))
        action = self._find(place)
        if action is None:
            self._known.pop(name, None)
            raise NotFound
        known = self._known.get(name)
        if known is None or known.action is not action or known.opened != opened:
            if not isinstance(action, Action):
                raise Conflict(WRONG_COLLECTION)
            known = self._known[name] = _merge(action, opened)
        return known

    def _find(self, name: FullName) -> AnyEntity | None:
        return self._builtins.get(name) or self._entities.find(name)


def lay_over(defaults: dict[str, Raw], result: bytes) -> bytes:
    """Lay the result of another action, maybe an array, over defaults (B48, B51)."""
    if defaults and not is_array(result):
        result = _encode({**defaults, **_fields.decode(result)})
    return one_line(result)


def one_line(text: bytes) -> bytes:
    return text.replace(b"\n", b" ") if b"\n" in text else text


def is_array(text: bytes) -> bool:
    """Told by its beginning: a result may be a megabyte."""
    return text[:64].lstrip()[:1] == b"["


def form_of(action: Action) -> Form:
    """A sequence is one whatever its annotations say (B8, B55)."""
    if action.exec.kind == BUILTIN_KIND:
        return Form.BUILTIN
    if action.exec.kind == SEQUENCE:
        return Form.SEQUENCE
    return Form.CONDUCTOR if truthy(action.annotation("conductor")) else Form.SINGLE


def _merge(action: Action, opened: Opened | None) -> Runnable:
    form = form_of(action)
    # Neither a sequence's own parameters nor its package's reach its components (B48).
    inherited = opened.parameters if opened and form is not Form.SEQUENCE else []
    own = action.parameters if form is not Form.SEQUENCE else []
    merged = overlay(inherited, own)
    final = action.annotation("final") is True
    return Runnable(
        action=action,
        opened=opened,
        form=form,
        defaults={p.key: Raw(_encode(p.value)) for p in merged if p.init is not True},
        final=frozenset(p.key for p in merged) if final else frozenset(),
        environment={p.key: _as_text(p.value) for p in merged if p.init is True},
        components=tuple(components_of(action)),
        binding=opened.binding if opened else None,
    )


def _as_text(value: Any) -> str:
    """An init parameter in the environment (C2)."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
