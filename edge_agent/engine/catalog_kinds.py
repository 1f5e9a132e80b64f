"""Kinds: what may be asked for, and what the node says it has (A14, A59, B5)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from edge_agent.model.errors import MalformedContent
from edge_agent.model.kinds import KindEntry

SEQUENCE = "sequence"
BLACKBOX = "blackbox"


class Kinds(Protocol):
    """What can run here; a sandbox factory is one.

    `kinds` are installed; `entries` are all that an action may name, the default of a
    family first. `resolve` turns a kind into a member of `kinds`, or None when nothing
    installed serves it; `why_not` has more to say of some that nothing serves.
    """

    @property
    def kinds(self) -> tuple[str, ...]: ...

    @property
    def entries(self) -> tuple[KindEntry, ...]: ...

    def resolve(self, kind: str) -> str | None: ...

    def why_not(self, kind: str) -> str: ...


class Runtime(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of the runtimes manifest."""

    kind: str
    image: str
    deprecated: bool = False
    default: bool = False
    attached: bool = True
    require_main: bool = False


def accept_kind(kind: str, kinds: Kinds) -> str:
    """The kind to store: as sent, or what `family:default` is a name for.

    Raises:
        MalformedContent: nothing here serves it; a bare family is no kind.
    """
    family, colon, version = kind.partition(":")
    if colon and version == "default":
        of_family = (e.kind for e in kinds.entries if e.family == family and e.default)
        kind = next(of_family, kind)
    if family == BLACKBOX or kinds.resolve(kind) is None:
        raise MalformedContent(_refusal(kind, kinds))
    return kind


def _refusal(kind: str, kinds: Kinds) -> str:
    taken = (*(entry.kind for entry in kinds.entries), BLACKBOX, SEQUENCE)
    valid = ", ".join(f"'{k}'" for k in taken)
    said = (
        f"The specified runtime '{kind}' is not supported by this platform. "
        f"Valid values are: {valid}."
    )
    return " ".join(filter(None, (said, kinds.why_not(kind))))


def manifest(kinds: Kinds) -> dict[str, list[Runtime]]:
    """Family -> its runtimes; ours have no image, so they name what they run on."""
    families: dict[str, list[Runtime]] = {}
    for entry in kinds.entries:
        image = f"edgewhisk/{entry.runs_on}"
        runtime = Runtime(kind=entry.kind, image=image, default=entry.default)
        families.setdefault(entry.family, []).append(runtime)
    return families
