"""What a run says of itself: progress while it goes on, a report at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NodeState(StrEnum):
    JOINING = "joining"
    WORKING = "working"
    #: It was there, or never was; it is being tried.
    DOWN = "down"
    #: It will not take the job.
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """`items_per_s` over the time the node has been in the run."""

    name: str
    state: NodeState
    slots: int
    in_flight: int
    chunks: int
    items_per_s: float
    failures: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a run; `items_per_s` is the mean since its start.

    `chunks` and `completed` count what is mapped: the job's chunks, or its inputs.
    """

    run: str
    chunks: int
    completed: int
    in_flight: int
    retries: int
    backups: int
    items: float
    items_per_s: float
    seconds: float
    nodes: tuple[NodeProgress, ...]

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None while there is none."""
        if not self.completed:
            return None
        return self.seconds * (self.chunks - self.completed) / self.completed


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node did. `failures` counts refusals, losses and errors.

    `busy_s` is the sum of its actions' durations, over all its slots; `cpu` the share
    of its cores that worked, at moments of the run.
    """

    name: str
    chunks: int
    busy_s: float
    items_per_s: float
    failures: int
    slots: int = 0
    items: float = 0.0
    backups: int = 0
    joined_at: float | None = None
    cpu: tuple[tuple[float, float], ...] = ()

    @property
    def speed(self) -> float:
        """Items a second with all its slots at work, as measured on the way."""
        return self.slots * self.items / self.busy_s if self.busy_s > 0 else 0.0

    def busy_share(self, until: float) -> float:
        """Of what its slots could have worked since it joined."""
        if self.joined_at is None or not self.slots:
            return 0.0
        could_s = self.slots * (until - self.joined_at)
        return min(1.0, self.busy_s / could_s) if could_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """The form of `--json`, and `details` beside it.

    `map_s` is without the reduce. `printed` is what reduce wrote; not part of it.
    """

    run: str
    result: Any
    seconds: float
    chunks: int
    retries: int
    backups: int
    nodes: tuple[NodeReport, ...]
    printed: str = ""
    map_s: float = 0.0
    folder: str = ""

    @property
    def efficiency(self) -> float:
        """What the map took at least by the speeds of its nodes, over what it took."""
        items = sum(node.items for node in self.nodes)
        speed = sum(node.speed for node in self.nodes)
        return min(1.0, items / speed / self.map_s) if speed and self.map_s else 0.0

    def details(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "map_s": round(self.map_s, 3),
            "efficiency": round(self.efficiency, 4),
            "nodes": [
                {
                    "name": node.name,
                    "slots": node.slots,
                    "joined_s": node.joined_at and round(node.joined_at, 3),
                    "busy_share": round(node.busy_share(self.map_s), 4),
                    "items": node.items,
                    "speed_per_s": round(node.speed, 1),
                    "backups": node.backups,
                    "cpu": node.cpu,
                }
                for node in self.nodes
            ],
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "result": self.result,
            "seconds": round(self.seconds, 3),
            "chunks": self.chunks,
            "retries": self.retries,
            "backups": self.backups,
            "nodes": [
                {
                    "name": node.name,
                    "chunks": node.chunks,
                    "busy_s": round(node.busy_s, 3),
                    "items_per_s": round(node.items_per_s, 1),
                    "failures": node.failures,
                }
                for node in self.nodes
            ],
        }
