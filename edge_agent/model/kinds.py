"""What a node says of its kinds: one line for each that an action may name."""

from __future__ import annotations

import msgspec


class KindEntry(msgspec.Struct, frozen=True):
    """`default`: what `family:default` is stored as; `runs_on`: what is installed."""

    kind: str
    runs_on: str
    default: bool = False

    @property
    def family(self) -> str:
        return self.kind.partition(":")[0]
