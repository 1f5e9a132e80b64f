"""OpenWhisk's entities as they stand on the wire (section b of the contract).

One class per entity, used by the server, the store and the client alike. Optional
fields that the wire leaves out when they are absent are `UNSET`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from edge_agent.model.names import FullName

FIRST_VERSION = "0.0.1"


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what is sent and stored: frozen, camelCase on the wire."""


class KeyValue(Wire, frozen=True, kw_only=True):
    """A parameter or an annotation (B3); `init` goes to the environment (C2)."""

    key: str
    value: Any
    init: bool | UnsetType = UNSET


class ActionLimits(Wire, frozen=True, kw_only=True):
    """`timeout` in ms, `memory` and `logs` in MB (B9)."""

    timeout: int = 60_000
    memory: int = 256
    logs: int = 10
    concurrency: int = 1
    instances: int | UnsetType = UNSET


class Exec(Wire, frozen=True, kw_only=True):
    """How an action runs (B6-B8); which fields are set depends on `kind`."""

    kind: str
    code: str | UnsetType = UNSET
    binary: bool | UnsetType = UNSET
    main: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    components: list[str] | UnsetType = UNSET

    @property
    def runs_as(self) -> str:
        """The kind that sandboxes are asked for: `blackbox:IMAGE` of a blackbox."""
        return self.kind if self.image is UNSET else f"{self.kind}:{self.image}"


class Entity(Wire, frozen=True, kw_only=True):
    """What all entities have (B1). `namespace` is `ns` or `ns/pkg`; `updated` in ms."""

    namespace: str
    name: str
    version: str = FIRST_VERSION
    publish: bool = False
    annotations: list[KeyValue] = []
    updated: int = 0

    @property
    def full_name(self) -> FullName:
        namespace, _, package = self.namespace.partition("/")
        return FullName(namespace, self.name, package or None)

    def annotation(self, key: str) -> Any:
        """The value of annotation `key`, None when there is none."""
        return next((a.value for a in self.annotations if a.key == key), None)


class Action(Entity, frozen=True, kw_only=True):
    """`binding` is only shown, of an action that was read through one (B13)."""

    exec: Exec
    parameters: list[KeyValue] = []
    limits: ActionLimits = ActionLimits()
    binding: str | UnsetType = UNSET


class Binding(Wire, frozen=True, kw_only=True):
    namespace: str
    name: str


class Package(Entity, frozen=True, kw_only=True):
    parameters: list[KeyValue] = []
    binding: Binding | None = None


class Reference(Wire, frozen=True, kw_only=True):
    """A trigger or action as a rule names it (B25): `path` is `ns` or `ns/pkg`."""

    path: str
    name: str

    @property
    def full_name(self) -> FullName:
        namespace, _, package = self.path.partition("/")
        return FullName(namespace, self.name, package or None)


class Trigger(Entity, frozen=True, kw_only=True):
    """As stored. Its `rules` on the wire (B22) are derived from the rules.

    `had_rules`: a rule has named it once; from then on `rules` is shown, even if empty.
    """

    parameters: list[KeyValue] = []
    had_rules: bool = False


class Rule(Entity, frozen=True, kw_only=True):
    """`active` is the rule's status; the wire says `"status":"active"` (B25)."""

    trigger: Reference
    action: Reference
    active: bool = True


AnyEntity = Action | Package | Trigger | Rule


def truthy(value: Any) -> bool:
    """The loose reading of annotations (B15): JSON's non-empty, non-zero, true."""
    return bool(value)


def next_version(version: str) -> str:
    """Raise the patch number (B2): 9.9.9 -> 9.9.10."""
    major, minor, patch = version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"
