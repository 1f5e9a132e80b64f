"""A node as map-reduce sees it, and what may become of a chunk there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from msgspec import Raw

from controller.mapreduce.job import MapAction
from edge_agent.model.errors import EdgeWhiskError


@dataclass(frozen=True, slots=True)
class Done:
    """`result` is JSON text; `seconds` what the action took, by the node's clock."""

    result: Raw
    activation_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """429 or 503: nothing was accepted."""

    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer will come: a whisk error, a broken connection, a lost record."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The action itself failed. It would again, so this is never repeated."""

    reason: str
    activation_id: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """How many chunks a node can work on at once, and how busy it has been.

    `cpu_s`: seconds its cores have worked since some moment; None when untold.
    """

    slots: int
    cpu_s: float | None = None
    cores: int | None = None


Outcome = Done | Refused | Lost | Failed


class NodeDown(EdgeWhiskError):
    """The node does not answer, or not now; it may come back."""


class NodeUnfit(EdgeWhiskError):
    """The node answers and will not take the job: wrong key, limits too high."""


class Node(Protocol):
    """One OpenWhisk host. Names of actions are in the caller's namespace."""

    @property
    def name(self) -> str: ...

    async def deploy(self, action_name: str, action: MapAction) -> None:
        """Create the action, or replace it.

        Raises:
            NodeDown, NodeUnfit
        """
        ...

    async def remove(self, action_name: str) -> None:
        """Delete the action; one that is not there is fine.

        Raises:
            NodeDown, NodeUnfit
        """
        ...

    async def vitals(self) -> Vitals:
        """Also asked to see whether it lives.

        Raises:
            NodeDown, NodeUnfit
        """
        ...

    async def run(self, action_name: str, arguments: bytes) -> Outcome:
        """Run one chunk and wait for it, however long. Never raises."""
        ...

    async def listen(self) -> None:
        """Hear what the node tells by itself, until cancelled. Never raises."""
        ...
