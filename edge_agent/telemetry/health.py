"""Probes of every room under one roof; `/edge/v1/node` reads them.

A room does not know this module: `app` registers its probe. A probe that fails shows
its error instead of taking the report down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Probe = Callable[[], Any]


class Health:
    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self._facts = dict(facts or {})
        self._probes: dict[str, Probe] = {}

    def register(self, name: str, probe: Probe) -> None:
        self._probes[name] = probe

    def report(self) -> dict[str, Any]:
        """Facts that do not change, then every probe's JSON-ready answer."""
        return {**self._facts, **{n: _ask(p) for n, p in self._probes.items()}}


def _ask(probe: Probe) -> Any:
    try:
        return probe()
    except Exception as error:  # noqa: BLE001 a sick probe is a finding, not a fault
        return {"error": str(error) or type(error).__name__}
