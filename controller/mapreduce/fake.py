"""A node in memory, for tests and simulations: works, or fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.job import MapAction
from controller.mapreduce.node import Done, Lost, NodeDown, NodeUnfit, Outcome, Vitals


@dataclass(slots=True)
class FakeNode:
    """Each action does what its source says, or all do `work`; `plan` may differ.

    `plan` may put another outcome in its place: it sees the number of the call (from 0)
    and its arguments; None: work. While it is `down`, nothing is answered, and what
    runs then is never heard of again.
    """

    name: str
    work: Callable[[bytes], bytes] | None = None
    capacity: int = 2
    seconds: float = 0.0
    plan: Callable[[int, bytes], Outcome | None] = lambda _number, _arguments: None
    unfit: str = ""
    down: bool = False
    calls: int = 0
    actions: dict[str, MapAction] = field(default_factory=dict)
    #: The most chunks that were there at once.
    most: int = 0
    _running: int = 0
    _works: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)

    async def deploy(self, action_name: str, action: MapAction) -> None:
        self._answer()
        self.actions[action_name] = action
        if self.work is None:
            self._works[action_name] = work_of(action)

    async def remove(self, action_name: str) -> None:
        self._answer()
        self.actions.pop(action_name, None)

    async def vitals(self) -> Vitals:
        self._answer()
        return Vitals(self.capacity)

    async def listen(self) -> None:
        await asyncio.Event().wait()

    async def run(self, action_name: str, arguments: bytes) -> Outcome:
        number = self.calls
        self.calls += 1
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            await asyncio.sleep(self.seconds)
            if self.down:
                await asyncio.Event().wait()
            if action_name not in self.actions:
                return Lost(f"{self.name} has no action {action_name}")
            planned = self.plan(number, arguments)
            if planned is not None:
                return planned
            work = self.work or self._works[action_name]
            result = Raw(work(arguments))
            return Done(result, f"{self.name}-{number}", self.seconds)
        finally:
            self._running -= 1

    def _answer(self) -> None:
        if self.unfit:
            raise NodeUnfit(self.unfit)
        if self.down:
            raise NodeDown(f"{self.name} is down")


def work_of(action: MapAction) -> Callable[[bytes], bytes]:
    """A Python action as a node runs it: from its source text alone."""
    scope: dict[str, Any] = {"__name__": "action"}
    exec(action.code, scope)  # noqa: S102 that is what a node does
    main = scope[action.main]
    return lambda arguments: msgspec.json.encode(main(msgspec.json.decode(arguments)))
