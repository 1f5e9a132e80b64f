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
    """A moment of a run; `items_per_s` is the mean since its start."""

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
    """What one node did. `failures` counts refusals and losses.

    `busy_s` is the sum of its actions' durations, over all its slots.
    """

    name: str
    chunks: int
    busy_s: float
    items_per_s: float
    failures: int


@dataclass(frozen=True, slots=True)
class Report:
    """The form of `--json`; `printed` is what reduce wrote and is not part of it."""

    run: str
    result: Any
    seconds: float
    chunks: int
    retries: int
    backups: int
    nodes: tuple[NodeReport, ...]
    printed: str = ""

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
