"""What one node has done in a run so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.node import Vitals
from controller.mapreduce.policy import Schedule
from controller.mapreduce.progress import (
    NodeProgress,
    NodeReport,
    NodeState,
    Progress,
)

_FIELDS = msgspec.json.Decoder(dict[str, Any])


@dataclass(slots=True)
class Tally:
    """Counted by the runner; times are those of its clock."""

    name: str
    state: NodeState = NodeState.JOINING
    slots: int = 0
    chunks: int = 0
    busy_s: float = 0.0
    items: float = 0.0
    failures: int = 0
    backups: int = 0
    trouble: str = ""
    joined_at: float | None = None
    last_at: float = 0.0
    #: The share of its cores that worked, by the run's clock; from its own count.
    cpu: list[tuple[float, float]] = field(default_factory=list)
    _cpu_before: tuple[float, float] | None = None

    @property
    def items_per_s(self) -> float:
        if self.joined_at is None or self.last_at <= self.joined_at:
            return 0.0
        return self.items / (self.last_at - self.joined_at)

    def count(self, chunks: int, items: float, seconds: float) -> None:
        self.chunks += chunks
        self.items += items
        self.busy_s += seconds

    def look(self, vitals: Vitals, at: float) -> None:
        """Note how busy its cores were since the last look."""
        if vitals.cpu_s is None or vitals.cores is None:
            return
        before, self._cpu_before = self._cpu_before, (at, vitals.cpu_s)
        if before is not None and at > before[0]:
            worked = (vitals.cpu_s - before[1]) / (at - before[0]) / vitals.cores
            self.cpu.append((round(at, 2), round(min(max(worked, 0.0), 1.0), 3)))

    def progress(self, in_flight: int) -> NodeProgress:
        return NodeProgress(
            name=self.name,
            state=self.state,
            slots=self.slots,
            in_flight=in_flight,
            chunks=self.chunks,
            items_per_s=self.items_per_s,
            failures=self.failures,
            trouble=self.trouble,
        )

    def report(self) -> NodeReport:
        return NodeReport(
            name=self.name,
            chunks=self.chunks,
            busy_s=self.busy_s,
            items_per_s=self.items_per_s,
            failures=self.failures,
            slots=self.slots,
            items=self.items,
            backups=self.backups,
            joined_at=self.joined_at,
            cpu=tuple(self.cpu),
        )


def items_in(result: Raw, name: str | None, units: int) -> float:
    """The number in field `name` of a result: 0 when there is none; else its units."""
    if name is None:
        return float(units)
    try:
        found = _FIELDS.decode(result).get(name, 0)
    except msgspec.MsgspecError:
        return 0.0
    return float(found) if isinstance(found, int | float) else 0.0


def moment(
    run: str, schedule: Schedule, tallies: Mapping[str, Tally], seconds: float
) -> Progress:
    """How the run stands."""
    items = sum(tally.items for tally in tallies.values())
    return Progress(
        run=run,
        chunks=schedule.units,
        completed=schedule.completed_units,
        in_flight=schedule.in_flight,
        retries=schedule.retries,
        backups=schedule.backups,
        items=items,
        items_per_s=items / seconds if seconds > 0 else 0.0,
        seconds=seconds,
        nodes=tuple(
            tally.progress(schedule.in_flight_on(name))
            for name, tally in tallies.items()
        ),
    )
