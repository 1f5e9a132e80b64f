"""Experiment A: how many calls at once a host can hold.

The action sleeps 30 ms and computes nothing, so what it takes beyond that is queue and
platform. Vary the clients:

    locust -f loadtests ConcurrencyUser --headless -u 16 -t 30s
"""

from __future__ import annotations

import json
from typing import Any

from _actions import SLEEP
from _user import ActionUser
from locust import task

SLEEP_MS = 30
ARGUMENTS = {"ms": SLEEP_MS}
BODY = json.dumps(ARGUMENTS).encode()


class ConcurrencyUser(ActionUser):
    sources = (SLEEP,)

    def on_start(self) -> None:
        self.warm(SLEEP, ARGUMENTS)

    @task
    def sleep(self) -> None:
        self.invoke(SLEEP, BODY, name=f"concurrency {SLEEP_MS} ms", whole=_slept)


def _slept(content: bytes) -> bool:
    result: Any = json.loads(content)
    return isinstance(result, dict) and result.get("ms") == SLEEP_MS
