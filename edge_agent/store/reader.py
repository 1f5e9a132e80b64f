"""Reading apart from writing: one connection in one thread.

WAL readers never wait for the writer; the thread keeps a slow disk from holding up the
event loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Reader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    async def call(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run `read` in the reader's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, read, self._connection)

    async def rows(
        self, sql: str, parameters: tuple[object, ...] = ()
    ) -> list[tuple[object, ...]]:
        return await self.call(lambda c: c.execute(sql, parameters).fetchall())

    def close(self) -> None:
        """End the thread; the connection is the caller's to close."""
        self._executor.shutdown(wait=True)
