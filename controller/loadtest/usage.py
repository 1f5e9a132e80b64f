"""What a point cost its nodes: cores and memory by group of processes. Pure.

agent       the agent's own process
sandboxes   what runs below it: the actions
rest        everything else on the machine, the broker and the generator included
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from controller.loadtest.watch import Moment

MB = 1 << 20


@dataclass(frozen=True)
class Usage:
    """Of one node: cores at work on average, the most memory, the greatest heat."""

    node: str
    agent_cores: float | None
    sandboxes_cores: float | None
    rest_cores: float | None
    agent_mb: float | None
    sandboxes_mb: float | None
    temperature_c: float | None


def usages(moments: Sequence[Moment], begun: float, ended: float) -> list[Usage]:
    """Of each node that told something at two times between `begun` and `ended`."""
    within = [each for each in moments if begun <= each.at_s <= ended]
    ordered = sorted(within, key=lambda each: (each.node, each.at_s))
    nodes = groupby(ordered, key=lambda each: each.node)
    return [usage for _, each in nodes if (usage := _usage(list(each)))]


def _usage(moments: Sequence[Moment]) -> Usage | None:
    if len(moments) < 2:  # noqa: PLR2004
        return None
    agent = _cores(moments, "agent_s")
    sandboxes = _cores(moments, "sandboxes_s")
    machine = _cores(moments, "machine_s")
    rest = None if machine is None else machine - (agent or 0) - (sandboxes or 0)
    return Usage(
        moments[0].node,
        agent,
        sandboxes,
        None if rest is None else max(0.0, round(rest, 3)),
        _most_mb([each.agent_bytes for each in moments]),
        _most_mb([each.sandboxes_bytes for each in moments]),
        max((t for each in moments if (t := each.temperature_c)), default=None),
    )


def _cores(moments: Sequence[Moment], field: str) -> float | None:
    """Work between neighbouring times.

    Where a sandbox ended the sum falls; that piece is left out.
    """
    worked = passed = 0.0
    for before, after in pairwise(moments):
        first, last = getattr(before, field), getattr(after, field)
        if first is None or last is None or last < first:
            continue
        worked += last - first
        passed += after.at_s - before.at_s
    return round(worked / passed, 3) if passed else None


def _most_mb(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(max(known) / MB, 1) if known else None


@dataclass(frozen=True)
class Prices:
    """What the user says a node costs; both may be unknown."""

    per_hour: float | None = None
    watts: float | None = None

    def of(self, rate_per_s: float, seconds: float) -> dict[str, float]:
        """Of a run at that rate: what a million calls cost, and a call's energy."""
        found = {}
        if self.per_hour is not None:
            found["price_run"] = round(self.per_hour * seconds / 3600, 6)
            found["price_million"] = round(self.per_hour / 3600 / rate_per_s * 1e6, 4)
        if self.watts is not None:
            found["energy_run_wh"] = round(self.watts * seconds / 3600, 4)
            found["energy_call_j"] = round(self.watts / rate_per_s, 4)
        return found
