"""The background tasks of the pool: every one has a name and one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """A TaskGroup that is there while `own` runs; `open` says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, which ends only by cancellation, and own tasks meanwhile."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.open.set()
            try:
                await work
            finally:
                self._group = None
                self.open.clear()

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Start `work`; when nobody owns tasks any more it is dropped."""
        if self._group is None:
            work.close()
            return
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self, timeout_s: float) -> None:
        """Wait for those that run now; those that take longer are cancelled."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
