"""A day of a cloud's functions, scaled down to minutes.

Each user is one application with its chain length, run time, memory and rate drawn
from the distributions in `_azure`, always the same for the same number of users. A day
is `--day` seconds (600), and a run is shorter by the root of that, at most 5 s.

    locust -f loadtests MixedUser --headless -u 30 -r 30 -t 10m
"""

from __future__ import annotations

import itertools
import json
import math
import random
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from operator import eq

import gevent
from _actions import SLEEP
from _azure import CHAIN_LENGTHS, DAY_S, MEMORIES_MB, Function, draw
from _entities import Action, Entity
from _entities import Sequence as ActionSequence
from _user import ActionUser

MOST_RUN_MS = 5000.0
_numbers = itertools.count()


class MixedUser(ActionUser):
    @classmethod
    def entities(cls, options: Namespace) -> Sequence[Entity]:
        del options
        entities: list[Entity] = []
        for memory in MEMORIES_MB:
            action = Action(SLEEP, memory)
            entities.append(action)
            for _, steps in CHAIN_LENGTHS[1:]:
                name = _chain(steps, memory)
                entities.append(ActionSequence(name, (action.name,) * steps))
        return entities

    def on_start(self) -> None:
        self._number = next(_numbers)
        self._function = draw(random.Random(self._number))
        self._pauses = random.Random(-1 - self._number)
        self._wait()

    def one(self, due: float | None) -> None:
        function = self._function
        arguments = {"ms": run_ms(function, self.options.day)}
        self.invoke(
            _chain(function.steps, function.memory_mb),
            json.dumps(arguments).encode(),
            name=f"mixed {function.steps} steps",
            whole=partial(eq, arguments),
            due=due,
        )
        self._wait()

    def _wait(self) -> None:
        """Until the next call comes; the calls of a day come at random."""
        rate = self._function.calls_a_day / self.options.day
        gevent.sleep(self._pauses.expovariate(rate))


def run_ms(function: Function, day_s: float) -> int:
    """What one step sleeps in a day that is so short."""
    shorter = math.sqrt(DAY_S / day_s)
    steps_ms = min(function.run_ms / shorter, MOST_RUN_MS)
    return max(1, round(steps_ms))


def _chain(steps: int, memory_mb: int) -> str:
    return f"{SLEEP.name}-{memory_mb}" if steps == 1 else f"chain{steps}-{memory_mb}"
