"""What the nodes feel while they are measured: CPU, memory, heat, once a second.

Asked in a thread with a loop of its own, since a load test waits for a process. Only
agents of ours tell; of another target there is nothing, and the report says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from controller.fleet.client import Client
from controller.fleet.retry import Retry
from controller.fleet.target import Target
from edge_agent.model.errors import EdgeWhiskError

PERIOD_S = 1.0
STOP_TIMEOUT_S = 15.0
#: Bounded: an 8 hours' soak is asked less often instead.
MOST = 3600


@dataclass(frozen=True, slots=True)
class Moment:
    """One node at one time; CPU in seconds since some start, memory in bytes.

    `machine_s` counts all cores and everything that runs; `cores` is how many.
    """

    node: str
    at_s: float
    agent_s: float | None
    sandboxes_s: float | None
    machine_s: float | None
    cores: int
    agent_bytes: int | None
    sandboxes_bytes: int | None
    temperature_c: float | None
    skew_ms: float
    skew_error_ms: float


class Watch:
    """`moments` grows while it is entered."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.moments: list[Moment] = []
        self.nodes: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(self._one(target), name=f"watch {target.name}")

    async def _one(self, target: Target) -> None:
        async with Client(target, retry=Retry(attempts=1), timeout_s=5.0) as client:
            period_s = PERIOD_S
            while not self._stopping.is_set():
                moment = await self._moment(client, target)
                if moment is None and not self.moments:
                    return  # none of ours
                if moment is not None:
                    self.moments.append(moment)
                if len(self.moments) > MOST:
                    self.moments, period_s = self.moments[::2], period_s * 2
                await asyncio.sleep(period_s)

    async def _moment(self, client: Client, target: Target) -> Moment | None:
        try:
            asked = time.time()
            load = await client.edge("load")
            node = await client.edge("node")
            answered = time.time()
        except (EdgeWhiskError, aiohttp.ClientError, TimeoutError):
            return None
        self.nodes[target.name] = node
        return moment_of(target.name, node, load, asked=asked, answered=answered)


def moment_of(
    name: str,
    node: dict[str, Any],
    load: dict[str, Any],
    *,
    asked: float,
    answered: float,
) -> Moment:
    """What a node's report says; the skew is that of its clock against ours.

    The clock was read between asking and answering: half of that is the error.
    """
    sandboxes = node.get("sandboxes") or {}
    half_s = (answered - asked) / 2
    return Moment(
        node=name,
        at_s=asked + half_s,
        agent_s=node.get("cpu_s"),
        sandboxes_s=sandboxes.get("cpu_s"),
        machine_s=load.get("cpu_s"),
        cores=load.get("cores") or 1,
        agent_bytes=node.get("rss_bytes"),
        sandboxes_bytes=sandboxes.get("rss_bytes"),
        temperature_c=(node.get("sensors") or {}).get("cpu_temperature_c"),
        skew_ms=node["now_ms"] - (asked + half_s) * 1000,
        skew_error_ms=half_s * 1000,
    )
