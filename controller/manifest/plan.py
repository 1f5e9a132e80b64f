"""What to do on a node so that it has what a manifest asks for. Pure.

What is there is known from four lists: names, versions and the `whisk-managed` mark.
An entity is as it should be when its mark has the hash of the wish and the version it
was written with; who changes it by hand raises the version. Whether a rule is active is
the operator's and is left alone.

The order: what is in the way of another collection's name goes first, then packages,
actions, sequences after what they call, triggers, rules; then what the manifest has no
more, the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from controller.manifest.desired import AnyWanted, Desired, Key
from edge_agent.model.entities import FIRST_VERSION, ActionLimits, next_version

#: In this order they are made, in the opposite one removed.
COLLECTIONS = ("packages", "actions", "triggers", "rules")


class Op(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Present:
    """An entity of a node; `project` is None when nobody manages it."""

    version: str
    project: str | None = None
    digest: str = ""
    written: str = ""
    feed: str = ""
    limits: ActionLimits | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One step; `reason` is for people."""

    op: Op
    key: Key
    reason: str
    wanted: AnyWanted | None = None
    present: Present | None = None

    @property
    def version(self) -> str:
        """The one that the entity will have."""
        return FIRST_VERSION if self.present is None else version_after(self.present)


@dataclass(frozen=True, slots=True)
class Plan:
    """With one of the `conflicts`, names that others have, nothing is done."""

    changes: tuple[Change, ...] = ()
    conflicts: tuple[str, ...] = ()


def plan(desired: Desired, present: Mapping[Key, Present], *, prune: bool) -> Plan:
    """From what is there to what is desired; nothing when that is the same."""
    removals = _removals(desired, present) if prune and desired.named else []
    conflicts = _conflicts(desired, present, {change.key for change in removals})
    if conflicts:
        return Plan(conflicts=conflicts)
    names = {wanted.name for wanted in desired.entities}
    in_the_way = [c for c in removals if c.key.name in names]
    puts = [
        change
        for wanted in in_order(desired.entities)
        if (change := _put(wanted, present.get(wanted.key)))
    ]
    rest = [change for change in removals if change not in in_the_way]
    return Plan((*in_the_way, *puts, *rest))


def in_order(entities: Iterable[AnyWanted]) -> list[AnyWanted]:
    """Each after what it needs, else in the order of the manifest."""
    by_key = {wanted.key: wanted for wanted in entities}
    ordered: dict[Key, AnyWanted] = {}
    entered: set[Key] = set()

    def visit(wanted: AnyWanted) -> None:
        if wanted.key in entered:  # done, or a circle that the node will refuse
            return
        entered.add(wanted.key)
        for need in wanted.needs:
            if need in by_key:
                visit(by_key[need])
        ordered[wanted.key] = wanted

    for collection in COLLECTIONS:
        for wanted in by_key.values():
            if wanted.collection == collection:
                visit(wanted)
    return list(ordered.values())


def version_after(present: Present) -> str:
    """What a PUT makes of its version; empty where that cannot be told."""
    try:
        return next_version(present.version)
    except ValueError:
        return ""


def _conflicts(
    desired: Desired, present: Mapping[Key, Present], going: AbstractSet[Key]
) -> tuple[str, ...]:
    """Names that are another project's, or taken in another collection (A11)."""
    wanted = {one.name: one.key for one in desired.entities}
    found = []
    for key, there in present.items():
        ours = wanted.get(key.name)
        if ours is None or key in going:
            continue
        if there.project not in {None, desired.project}:
            owner = f"belongs to the project '{there.project}'"
        elif key != ours:
            owner = f"has the name of the {ours} of the manifest"
        else:
            continue
        found.append(f"{key} {owner}; rename one of them, or delete it on the node")
    return tuple(found)


def _removals(desired: Desired, present: Mapping[Key, Present]) -> list[Change]:
    wanted = {one.key for one in desired.entities}
    gone = [
        Change(Op.DELETE, key, "no longer in the manifest", present=there)
        for key, there in present.items()
        if there.project == desired.project and key not in wanted
    ]
    return sorted(
        gone, key=lambda c: (-COLLECTIONS.index(c.key.collection), c.key.name)
    )


def _put(wanted: AnyWanted, there: Present | None) -> Change | None:
    if there is None:
        return Change(Op.CREATE, wanted.key, "not there", wanted)
    if there.project is None:
        reason = "there, but not managed yet"
    elif there.digest != wanted.digest:
        reason = "changed in the manifest" if there.digest else "was left half done"
    elif there.written and there.written != there.version:
        reason = "changed on the node"
    else:
        return None
    return Change(Op.UPDATE, wanted.key, reason, wanted, there)
