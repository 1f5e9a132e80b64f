"""What was set at run time: settings of the node, and limits of single namespaces."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from edge_agent.model.limits import NamespaceLimits
from edge_agent.store.batch import Statement
from edge_agent.store.writer import Writer

_encode = msgspec.json.Encoder().encode
_limits = msgspec.json.Decoder(NamespaceLimits)


class OverrideStore:
    """Owns them; a change is seen once it is kept.

    `settings` are values by their dotted keys, `limits` those of namespaces.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.settings: Mapping[str, Any] = {}
        self.limits: dict[str, NamespaceLimits] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT key, doc FROM override")
        self.settings = {key: msgspec.json.decode(doc) for key, doc in rows}
        for namespace, doc in connection.execute("SELECT * FROM namespace_limits"):
            self.limits[namespace] = _limits.decode(doc)

    async def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep these, in place of all former ones."""
        statements: list[Statement] = [("DELETE FROM override", ())]
        statements += [
            ("INSERT INTO override VALUES (?,?)", (key, _encode(value)))
            for key, value in settings.items()
        ]
        await self._writer.execute(*statements)
        self.settings = dict(settings)

    async def set_limits(self, namespace: str, limits: NamespaceLimits | None) -> None:
        """Keep the limits of a namespace; None: it has none of its own any more."""
        if limits is None:
            sql = "DELETE FROM namespace_limits WHERE namespace=?"
            await self._writer.execute((sql, (namespace,)))
            self.limits.pop(namespace, None)
        else:
            sql = "INSERT OR REPLACE INTO namespace_limits VALUES (?,?)"
            await self._writer.execute((sql, (namespace, _encode(limits))))
            self.limits[namespace] = limits
