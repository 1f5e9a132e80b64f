"""Where the results of a map go: a run's journal, or a program that waits for them."""

from __future__ import annotations

from typing import Protocol

from controller.mapreduce.journal import Entry
from edge_agent.model.errors import EdgeWhiskError


class Keeper(Protocol):
    def add(self, entry: Entry) -> None:
        """A chunk has counted. Must not block."""
        ...

    def gave_up(self, chunk: int, error: EdgeWhiskError) -> bool:
        """No result of this chunk will come; True: the run goes on without it."""
        ...

    def flush(self) -> None:
        """Called now and then, in a thread.

        Raises:
            RunFailed: results cannot be kept any more.
        """
        ...
