"""A node that pickled functions are sent to: it must have our Python."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.mapreduce.fleet_node import FleetNode
from controller.mapreduce.job import MapAction
from controller.mapreduce.node import Done, NodeDown, NodeUnfit, Outcome, Vitals
from controller.mapreduce.pickled import PYTHON


class CallingNode:
    """A `Node`: asks for the version after the action is put."""

    def __init__(self, node: FleetNode) -> None:
        self._node = node
        self.name = node.name

    async def deploy(self, action_name: str, action: MapAction) -> None:
        await self._node.deploy(action_name, action)
        match await self._node.run(action_name, b'{"versions":true}'):
            case Done(result=result):
                told: dict[str, Any] = msgspec.json.decode(result)
                if tuple(told.get("python", ())) != PYTHON:
                    theirs = ".".join(map(str, told.get("python", ())))
                    ours = ".".join(map(str, PYTHON))
                    text = f"it runs Python {theirs}, functions from here need {ours}"
                    raise NodeUnfit(text)
            case outcome:
                raise NodeDown(f"it does not run functions: {outcome}")

    async def remove(self, action_name: str) -> None:
        await self._node.remove(action_name)

    async def vitals(self) -> Vitals:
        return await self._node.vitals()

    async def run(self, action_name: str, arguments: bytes) -> Outcome:
        return await self._node.run(action_name, arguments)

    async def listen(self) -> None:
        await self._node.listen()
