"""PUT of an entity: the same for all collections (A29, A33, A36, A40)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from edge_agent.api import bodies, query
from edge_agent.api.call import Call
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

T_co = TypeVar("T_co", covariant=True)


class Collection(Protocol[T_co]):
    """One of the catalogue's."""

    def put(
        self, identity: Identity, name: FullName, body: bytes, *, overwrite: bool
    ) -> Awaitable[T_co]: ...


async def put_into(call: Call, collection: Collection[T_co]) -> T_co:
    """What is stored; who may not change it is refused before the body is read."""
    call.services.catalog.check_changeable(call.identity, call.name)
    overwrite = query.flag(call.query, "overwrite")
    body = await bodies.document(call)
    return await collection.put(call.identity, call.name, body, overwrite=overwrite)
