"""When a run is not worth going on with: pure, time comes in as a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.mapreduce.errors import RunFailed
from controller.mapreduce.patience import Patience
from controller.mapreduce.policy import Schedule
from controller.mapreduce.progress import NodeState
from controller.mapreduce.tally import Tally


@dataclass(slots=True)
class Hope:
    """`node_at`: when a node took part last; `result_at`: when one gave a result."""

    patience: Patience
    node_at: float
    result_at: float

    def lost(
        self, schedule: Schedule, tallies: Iterable[Tally], now: float
    ) -> RunFailed | None:
        """Why to give up, if so."""
        patience = self.patience
        tallies = list(tallies)
        if schedule.nodes or schedule.finished:
            self.node_at = now
        if schedule.finished:
            self.result_at = now
        joined = any(tally.joined_at is not None for tally in tallies)
        without_s = patience.no_node_s if joined else patience.first_node_s
        if now - self.node_at > without_s:
            what = "no node is left" if joined else "no node can be reached"
            return RunFailed(f"{what}: {troubles(tallies)}")
        if schedule.refused_everywhere and now - self.result_at > patience.refused_s:
            text = f"no result for {patience.refused_s:g} s: every node refuses"
            return RunFailed(text)
        return None


def no_node_takes_it(tallies: Iterable[Tally]) -> RunFailed | None:
    tallies = list(tallies)
    if {tally.state for tally in tallies} != {NodeState.UNFIT}:
        return None
    return RunFailed(f"no node takes the job: {troubles(tallies)}")


def troubles(tallies: Iterable[Tally]) -> str:
    """Each trouble once, with the nodes that have it."""
    nodes: dict[str, list[str]] = {}
    for tally in tallies:
        if tally.trouble:
            nodes.setdefault(tally.trouble, []).append(tally.name)
    return "; ".join(f"{', '.join(names)}: {what}" for what, names in nodes.items())
