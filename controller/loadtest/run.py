"""Run scenarios point by point, and gather everything for the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.bench import machine
from controller.fleet.target import Target
from controller.loadtest import abilities
from controller.loadtest.document import Measured, document
from controller.loadtest.errors import BadLoadtest
from controller.loadtest.locust_run import Crew, Stay, folder, stay
from controller.loadtest.plan import (
    BY_DEFAULT,
    SCENARIOS,
    Point,
    Terms,
    left_out,
    points_of,
)
from controller.loadtest.report import write
from controller.loadtest.usage import Prices
from controller.loadtest.watch import Watch
from controller.loadtest.workers import Group, workers

Say = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What was asked for; no scenario means those of `BY_DEFAULT`."""

    scenarios: Sequence[str]
    out: Path
    quick: bool = False
    repetitions: int = 1
    broker: str = ""
    prices: Prices = field(default_factory=Prices)
    processes: int = 0
    workers: Group | None = None


def check(scenarios: Sequence[str]) -> list[str]:
    """Those to run.

    Raises:
        BadLoadtest: there is no such scenario.
    """
    for name in scenarios:
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise BadLoadtest(f"no scenario '{name}'; there are: {known}")
    return list(dict.fromkeys(scenarios or BY_DEFAULT))


def run(order: Order, targets: Sequence[Target], say: Say) -> dict[str, Any]:
    """Measure the first target and write the report.

    Args:
        order: what to run.
        targets: the first one is asked; all are watched meanwhile.
        say: told what is being run.

    Raises:
        BadLoadtest: a scenario, the host or its key is wrong.
        LoadtestError: nothing was measured.
        ModuleNotFoundError: Locust is not installed.
    """
    scenarios = check(order.scenarios)
    folder()
    target = targets[0]
    terms = abilities.ask(target, quick=order.quick, broker=order.broker)
    points = [each for name in scenarios for each in points_of(name, terms)]
    missing = [f"{n}: {why}" for n in scenarios if (why := left_out(n, terms))]
    if not points:
        raise BadLoadtest("; ".join(missing))
    surroundings = machine.describe()
    begun = time.time()
    with workers(order.workers, say) as joined, Watch(targets) as watch:
        crew = Crew(order.processes, local=True) if order.processes else joined
        measured = _measure(points, target, order.repetitions, crew, say)
    found = document(
        measured,
        target=target.url,
        begun=begun,
        terms=terms,
        prices=order.prices,
        environment=surroundings,
        watch=watch,
        missing=missing,
    )
    return write(found, measured, order.out)


def _measure(
    points: Sequence[Point],
    target: Target,
    repetitions: int,
    crew: Crew,
    say: Say,
) -> list[Measured]:
    measured = []
    for number, point in enumerate(points, 1):
        clients = "client" if point.users == 1 else "clients"
        how_long = "" if point.seconds is None else f" for {point.seconds:g} s"
        again = f", {repetitions} times" if repetitions > 1 else ""
        head = f"[{number}/{len(points)}] {point.label}"
        say(f"{head}: {point.users} {clients}{how_long}{again}")
        begun = time.time()
        stays: list[Stay] = [stay(point, target, crew) for _ in range(repetitions)]
        measured.append(Measured(point, stays, begun, time.time()))
    return measured


__all__ = ["Order", "Terms", "check", "run"]
