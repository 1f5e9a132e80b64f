"""What a manifest asks for, everything resolved.

Nothing of it depends on files, the environment or a node any more, so that it can be
kept and applied again later.

Every entity carries the annotation `whisk-managed`, as wskdeploy writes it:

    projectName   the manifest's project
    projectHash   ours: of this one entity, so that only what differs is written
    projectDeps   always empty
    file          the manifest's name
    version       ours: the version that was written; another one was not written by us
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, NamedTuple

import msgspec

from controller.fleet.wire import Limits
from edge_agent.model.entities import Exec, KeyValue

MANAGED = "whisk-managed"
SEQUENCE = "sequence"
_canonical = msgspec.json.Encoder(order="sorted").encode


class Key(NamedTuple):
    """What is where: `("actions", "pkg/name")`."""

    collection: str
    name: str

    def __str__(self) -> str:
        return f"{self.collection.removesuffix('s')} {self.name}"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, tag_field="collection"):
    collection: ClassVar[str]

    name: str
    annotations: dict[str, Any] = {}

    @property
    def key(self) -> Key:
        return Key(self.collection, self.name)

    @property
    def digest(self) -> str:
        """The same for the same wish, whatever the order of its keys."""
        return hashlib.sha1(_canonical(self), usedforsecurity=False).hexdigest()

    @property
    def needs(self) -> tuple[Key, ...]:
        """What must be there first; some of it may be nobody's wish but be there."""
        return ()


class WantedPackage(Wanted, frozen=True, kw_only=True, tag="packages"):
    collection: ClassVar[str] = "packages"

    parameters: dict[str, Any] = {}
    publish: bool = False


class WantedAction(Wanted, frozen=True, kw_only=True, tag="actions"):
    """`name` is `pkg/name` in a package."""

    collection: ClassVar[str] = "actions"

    exec: Exec
    parameters: dict[str, Any] = {}
    limits: Limits = Limits()

    @property
    def needs(self) -> tuple[Key, ...]:
        package, slash, _ = self.name.partition("/")
        components = self.exec.components or []
        own = [Key("packages", package)] if slash else []
        return (*own, *(Key("actions", plain(name)) for name in components))


class WantedTrigger(Wanted, frozen=True, kw_only=True, tag="triggers"):
    """With a `feed` the parameters are the feed's, else the trigger's own."""

    collection: ClassVar[str] = "triggers"

    feed: str = ""
    parameters: dict[str, Any] = {}

    @property
    def needs(self) -> tuple[Key, ...]:
        return (Key("actions", plain(self.feed)),) if self.feed else ()


class WantedRule(Wanted, frozen=True, kw_only=True, tag="rules"):
    """`trigger` and `action` are full names: `/ns/[pkg/]name`, ns may be `_`."""

    collection: ClassVar[str] = "rules"

    trigger: str
    action: str

    @property
    def needs(self) -> tuple[Key, ...]:
        return (
            Key("triggers", plain(self.trigger)),
            Key("actions", plain(self.action)),
        )


AnyWanted = WantedPackage | WantedAction | WantedTrigger | WantedRule


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """One manifest. `named`: it names its project, so what it drops may be removed."""

    project: str
    named: bool
    file: str
    entities: list[AnyWanted]


def plain(full: str) -> str:
    """`/_/pkg/name` -> `pkg/name`; what is in another namespace stays as it is."""
    return full.removeprefix("/_/")


def mark(desired: Desired, wanted: AnyWanted | None, version: str) -> KeyValue:
    """The annotation; without `wanted` it says that work on the entity is under way."""
    value = {
        "projectName": desired.project,
        "projectHash": "" if wanted is None else wanted.digest,
        "projectDeps": [],
        "file": desired.file,
        "version": version,
    }
    return KeyValue(key=MANAGED, value=value)
