"""How many calls a node runs at once: `--slots N` sets it for the run.

A slot is the memory of one action; the node's pool is given so many of them through
`/edge/v1/settings`, and what it had when the run is over. Whoever else measures on the
node at that time would measure something else, so it is for one scenario alone.
"""

from __future__ import annotations

from typing import Any

from _openwhisk import Host
from _target import TargetError

SETTINGS = "/edge/v1/settings"
POOL, ACTION = "pool.memory_mb", "limits.memory_mb.standard"


class Slots:
    """Set when made; `restore` gives the node back what it had.

    Raises:
        TargetError: the node is none of ours, or its system key is not known.
    """

    def __init__(self, host: Host, count: int) -> None:
        self._host = host
        before = self._ask("GET")
        found = before[POOL]
        self._before = found["value"] if found["origin"] == "override" else None
        self._ask("PATCH", {POOL: count * before[ACTION]["value"]})

    def restore(self) -> None:
        self._ask("PATCH", {POOL: self._before})

    def _ask(self, method: str, body: object = None) -> dict[str, Any]:
        try:
            answer = self._host.as_system(method, SETTINGS, body)
            return {POOL: answer[POOL], ACTION: answer[ACTION]}
        except (LookupError, TypeError):
            raise TargetError(
                f"--slots: {self._host.target.url} has no {SETTINGS}; leave it out"
            ) from None
        except TargetError as error:
            raise TargetError(f"--slots: {error}; is --system-auth right?") from error
