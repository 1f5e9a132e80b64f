"""Experiment A: how many calls at once a host can hold.

The action sleeps 30 ms and computes nothing, so what it takes beyond that is queue and
platform. Vary the clients:

    locust -f loadtests ConcurrencyUser --headless -u 16 -t 30s
"""

from __future__ import annotations

import json
from functools import partial
from operator import eq

from _actions import SLEEP
from _user import ActionUser

SLEEP_MS = 30
ARGUMENTS = {"ms": SLEEP_MS}
BODY = json.dumps(ARGUMENTS).encode()
NAME = f"concurrency {SLEEP_MS} ms"


class ConcurrencyUser(ActionUser):
    sources = (SLEEP,)

    def on_start(self) -> None:
        self.warm(SLEEP.name, ARGUMENTS)

    def one(self, due: float | None) -> None:
        self.invoke(SLEEP.name, BODY, name=NAME, whole=partial(eq, ARGUMENTS), due=due)
