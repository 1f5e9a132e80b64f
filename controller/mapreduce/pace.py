"""How fast nodes are, and how much of the work one is handed at once: pure.

- *Size.* Where several units may go in one invocation, a node gets what it does in
  `TARGET_S`, so that neither overhead nor waiting counts for much; never more than
  `GROWTH` times what it got before, as the first measurements are mostly overhead.
- *Horizon.* Where each unit is a chunk of its own, a node takes one of the last only if
  it will be done with it before all the others are done with the rest.
- *Guided.* Towards the end a piece is half of the node's fair share of what is left, by
  speed: all nodes end together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TARGET_S = 0.5
GROWTH = 8
#: Of its fair share of what is left, a slot gets so much.
GUIDED = 0.5
#: The weight of the newest measurement.
NEWEST = 0.3
#: Shorter cannot be measured over a network.
LEAST_S = 1e-6


@dataclass(slots=True)
class Pace:
    """Of one node. `unit_s`: seconds a unit takes in a slot; None: not known yet."""

    slots: int
    unit_s: float | None = None
    #: The size of the largest piece that has come back.
    size: int = 0

    @property
    def units_per_s(self) -> float:
        """Over all its slots; 0 when it is not known."""
        return 0.0 if self.unit_s is None else self.slots / self.unit_s

    def learn(self, count: int, seconds: float) -> None:
        newest = max(seconds / count, LEAST_S)
        old = newest if self.unit_s is None else self.unit_s
        self.unit_s = (1 - NEWEST) * old + NEWEST * newest
        self.size = max(self.size, count)


@dataclass(slots=True)
class Paces:
    """Of all nodes together; told of every change, so that it need not add up."""

    slots: int = 0
    known_slots: int = 0
    units_per_s: float = 0.0

    def add(self, pace: Pace, sign: int = 1) -> None:
        self.slots += sign * pace.slots
        if pace.unit_s is not None:
            self.known_slots += sign * pace.slots
            self.units_per_s += sign * pace.units_per_s
        if not self.known_slots:
            self.units_per_s = 0.0  # no rest of rounding

    def learn(self, pace: Pace, count: int, seconds: float) -> None:
        self.add(pace, -1)
        pace.learn(count, seconds)
        self.add(pace)

    @property
    def total(self) -> float:
        """Units per second, the unknown nodes taken as the mean of the others."""
        if not self.known_slots:
            return 0.0
        return self.units_per_s * self.slots / self.known_slots

    def size(self, pace: Pace, left: int) -> int:
        """How many of the units that are left a slot of this node is to do next."""
        if pace.unit_s is None:
            return max(1, min(1, left))
        wanted = min(TARGET_S / pace.unit_s, float(GROWTH * max(1, pace.size)))
        share = 1 / pace.unit_s / max(self.total, 1 / pace.unit_s)
        return max(1, int(min(wanted, math.ceil(GUIDED * left * share))))


def horizon(left: int, places: Sequence[tuple[float, int]]) -> float:
    """In how many seconds `left` chunks will be done, by nodes that are all at work.

    `places`: what a chunk takes in a slot, and how many slots. A slot is somewhere in a
    chunk, anywhere with the same chance; so in `h` seconds it ends `h / seconds - 1`
    more than that one, or none.
    """
    rate = ready = 0.0
    end_s = 0.0
    for seconds, slots in sorted(places):
        if rate and (left + ready) / rate <= seconds:
            break  # over before this node could have helped
        rate += slots / max(seconds, LEAST_S)
        ready += slots
        end_s = (left + ready) / rate
    return end_s
