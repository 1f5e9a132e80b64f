"""`GET /edge/v1/backup`: the whole store as a file (see `store.backup`)."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from edge_agent.api.answers import SERVICE
from edge_agent.api.auth import check_system
from edge_agent.api.call import REQUEST_ID, Call

CHUNK_BYTES = 256 << 10
#: A reader that takes nothing for so long is left.
STALLED_S = 60.0


async def download(call: Call) -> web.StreamResponse:
    """Only for the node's own key, which the node key in it is sealed with."""
    check_system(call)
    descriptor = await call.services.store.copy(call.identity.auth)
    try:
        size = os.fstat(descriptor).st_size
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/vnd.sqlite3",
                "Content-Length": str(size),
                REQUEST_ID: call.transaction_id,
                **dict(SERVICE),
            }
        )
        await response.prepare(call.request)
        while chunk := await asyncio.to_thread(os.read, descriptor, CHUNK_BYTES):
            async with asyncio.timeout(STALLED_S):
                await response.write(chunk)
        await response.write_eof()
    finally:
        os.close(descriptor)
    return response
