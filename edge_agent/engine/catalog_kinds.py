"""Kinds: what may be asked for, and what the node says it has (A14, A59, B5)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from edge_agent.model.errors import MalformedContent

SEQUENCE = "sequence"
BLACKBOX = "blackbox"


class Kinds(Protocol):
    """What can run here; a sandbox factory is one.

    `kinds` has the default of a family before its others; `resolve` turns a kind into
    a member of `kinds`, or None when nothing installed serves it.
    """

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def resolve(self, kind: str) -> str | None: ...


class Runtime(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One entry of the runtimes manifest."""

    kind: str
    image: str
    deprecated: bool = False
    default: bool = False
    attached: bool = True
    require_main: bool = False


def accept_kind(kind: str, kinds: Kinds) -> str:
    """The kind to store: as sent, or the concrete one for `family:default`.

    Raises:
        MalformedContent: nothing here serves it; a bare family is no kind.
    """
    family, colon, _ = kind.partition(":")
    resolved = kinds.resolve(kind) if colon and family != BLACKBOX else None
    if resolved is None:
        valid = ", ".join(f"'{k}'" for k in (*kinds.kinds, BLACKBOX, SEQUENCE))
        raise MalformedContent(
            f"The specified runtime '{kind}' is not supported by this platform. "
            f"Valid values are: {valid}."
        )
    return resolved if kind.endswith(":default") else kind


def manifest(kinds: Kinds) -> dict[str, list[Runtime]]:
    """Family -> its runtimes; ours have no image, so they name the interpreter."""
    families: dict[str, list[Runtime]] = {}
    for kind in kinds.kinds:
        family = families.setdefault(kind.partition(":")[0], [])
        family.append(Runtime(kind=kind, image=f"edgewhisk/{kind}", default=not family))
    return families
