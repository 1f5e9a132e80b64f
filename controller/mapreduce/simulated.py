"""A simulated fleet: a heap of events, no clock, no network.

makespan, counted = simulate(Schedule(1000), {"a": Machine(0.1, slots=4)})
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.mapreduce.policy import Assignment, Schedule, Wait

ROUND_TRIP_S = 0.005
ENDLESS_S = 1e6


@dataclass(slots=True)
class Machine:
    """`seconds` a chunk takes in one slot; `dies_at`, and whether it comes back."""

    seconds: float
    slots: int = 1
    dies_at: float = math.inf
    back_at: float = math.inf
    #: Outcomes in turn, over and over: d(one), r(efused), l(ost).
    moods: str = "d"
    busy_until: list[float] = field(default_factory=list)


class Simulation:
    """A heap of events; `run` gives the makespan."""

    def __init__(self, schedule: Schedule, machines: Mapping[str, Machine]) -> None:
        self.schedule = schedule
        self.machines = machines
        self.counted: Counter[int] = Counter()
        self.now = 0.0
        self._alive: set[str] = set()
        self._asking: dict[str, float] = {}
        self._moods = {name: itertools.cycle(m.moods) for name, m in machines.items()}
        self._ties = itertools.count()
        self._events: list[tuple[float, int, str, Assignment | None, str]] = []
        for name, machine in machines.items():
            self._later(0.0, name, "join")
            self._later(machine.dies_at, name, "die")
            self._later(machine.back_at, name, "join")

    def run(self) -> float:
        while not self.schedule.finished:
            self.now, _, name, attempt, what = heapq.heappop(self._events)
            if self.now > ENDLESS_S:
                raise RuntimeError("the run does not end")
            self._happen(name, attempt, what)
            for each in list(self._alive) if what == "die" else [name]:
                self._hand_out(each)
        return self.now

    def _later(
        self, at: float, name: str, what: str, attempt: Assignment | None = None
    ) -> None:
        heapq.heappush(self._events, (at, next(self._ties), name, attempt, what))

    def _happen(self, name: str, attempt: Assignment | None, what: str) -> None:
        if what == "die":
            self._alive.discard(name)
            self.schedule.leave(name)
        elif what == "join":
            self._alive.add(name)
            machine = self.machines[name]
            machine.busy_until = [self.now] * machine.slots
            self.schedule.join(name, slots=machine.slots)
        elif attempt is not None and name in self._alive:
            self._end(self.machines[name], attempt, what)

    def _end(self, machine: Machine, attempt: Assignment, mood: str) -> None:
        seconds = machine.seconds * attempt.count
        if mood == "r":
            self.schedule.refused(attempt, now=self.now)
        elif mood == "l":
            if not self.schedule.lost(attempt):
                raise RuntimeError(f"chunk {attempt.chunk} was lost too often")
        elif self.schedule.completed(attempt, seconds=seconds, now=self.now):
            units = range(attempt.chunk, attempt.chunk + attempt.count)
            self.counted.update(units)

    def _hand_out(self, name: str) -> None:
        if name not in self._alive:
            return
        machine = self.machines[name]
        while True:
            decision = self.schedule.take(name, now=self.now)
            if isinstance(decision, Wait):
                break
            mood = next(self._moods[name])
            end = self._end_of(machine, mood, decision.count)
            self._later(end, name, mood, decision)
        at = self.now + decision.seconds
        if self._asking.get(name, 0.0) <= self.now:  # one question at a time
            self._asking[name] = at
            self._later(at, name, "ask")

    def _end_of(self, machine: Machine, mood: str, count: int) -> float:
        if mood == "r":
            return self.now + ROUND_TRIP_S
        slot = machine.busy_until.index(min(machine.busy_until))
        start = max(self.now + ROUND_TRIP_S / 2, machine.busy_until[slot])
        machine.busy_until[slot] = end = start + machine.seconds * count
        return end + ROUND_TRIP_S / 2


def simulate(
    schedule: Schedule, machines: Mapping[str, Machine]
) -> tuple[float, Counter[int]]:
    """The makespan, and how often each chunk counted."""
    simulation = Simulation(schedule, machines)
    return simulation.run(), simulation.counted
