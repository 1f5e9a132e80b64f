"""What one node has done in a run so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from controller.mapreduce.progress import NodeProgress, NodeReport, NodeState

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
    trouble: str = ""
    joined_at: float | None = None
    last_at: float = 0.0

    @property
    def items_per_s(self) -> float:
        if self.joined_at is None or self.last_at <= self.joined_at:
            return 0.0
        return self.items / (self.last_at - self.joined_at)

    def count(self, items: float, seconds: float) -> None:
        self.chunks += 1
        self.items += items
        self.busy_s += seconds

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
            self.name, self.chunks, self.busy_s, self.items_per_s, self.failures
        )


def items_in(result: Raw, field: str | None) -> float:
    """The number in `field` of a result: 0 when there is none; 1 without a field."""
    if field is None:
        return 1.0
    try:
        found = _FIELDS.decode(result).get(field, 0)
    except msgspec.MsgspecError:
        return 0.0
    return float(found) if isinstance(found, int | float) else 0.0
