"""The APIs of the gateway: in memory, written through."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec

from edge_agent.model.apis import Api, read_api
from edge_agent.store.writer import Writer


class ApiStore:
    """Owns the APIs, by namespace and base path; a change is seen once it is kept."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._apis: dict[str, dict[str, Api]] = {}

    def load(self, connection: sqlite3.Connection) -> None:
        for namespace, doc in connection.execute("SELECT namespace, doc FROM api"):
            self._know(read_api(namespace, msgspec.json.decode(doc)))

    def of(self, namespace: str) -> Mapping[str, Api]:
        """The namespace's APIs by their base paths."""
        return self._apis.get(namespace, {})

    async def put(self, api: Api) -> None:
        """Keep `api`, in place of the one with its base path.

        Raises:
            Unavailable: it could not be written.
        """
        row = (api.namespace, api.base_path, msgspec.json.encode(api.document))
        statement = "INSERT OR REPLACE INTO api VALUES (?,?,?)"
        await self._writer.execute((statement, row))
        self._know(api)

    async def delete(self, api: Api) -> None:
        await self._writer.execute(
            (
                "DELETE FROM api WHERE namespace=? AND base_path=?",
                (api.namespace, api.base_path),
            )
        )
        self._apis[api.namespace].pop(api.base_path, None)

    def _know(self, api: Api) -> None:
        self._apis.setdefault(api.namespace, {})[api.base_path] = api
