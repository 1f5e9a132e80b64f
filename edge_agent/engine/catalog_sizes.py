"""How large what is put may be (A56a, D17, D18)."""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import UNSET

from edge_agent.model.entities import Exec, KeyValue
from edge_agent.model.errors import TooLarge

_encode = msgspec.json.Encoder().encode


def check_exec(exec_: Exec | None, *, limit: int) -> None:
    """Raise TooLarge when the code and what goes with it are above `limit` bytes."""
    if exec_ is None:
        return
    texts = [t for t in (exec_.code, exec_.main, exec_.image) if t is not UNSET]
    size = sum(_length(text) for text in texts)
    if size > limit:
        raise TooLarge("exec", size=size, limit=limit)


def check_key_values(what: str, entries: list[KeyValue] | None, *, limit: int) -> None:
    """Raise TooLarge; a size is that of the keys and of the values as compact JSON."""
    size = sum(_length(e.key) + len(_encode(e.value)) for e in entries or [])
    if size > limit:
        raise TooLarge(what, size=size, limit=limit)


class Put(Protocol):
    """What is put of any entity has these."""

    @property
    def parameters(self) -> list[KeyValue] | None: ...

    @property
    def annotations(self) -> list[KeyValue] | None: ...


def check_entries(put: Put, *, limit: int) -> None:
    """Raise TooLarge when its parameters, or its annotations, are above `limit`."""
    check_key_values("parameters", put.parameters, limit=limit)
    check_key_values("annotations", put.annotations, limit=limit)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
