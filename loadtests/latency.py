"""How long one warm call takes: one client, one action, 1 KB, nothing waiting.

However many users a run has, one of them measures latency; the others are the load of
the scenarios beside it. The open loop is the same call at a steady rate:

    locust -f loadtests LatencyUser --headless -t 30s --rate 20
"""

from __future__ import annotations

from functools import partial

from _actions import ECHO
from _payloads import KILOBYTE, payload, same
from _user import ActionUser


class LatencyUser(ActionUser):
    sources = (ECHO,)
    fixed_count = 1

    def on_start(self) -> None:
        self.warm(ECHO.name, {"data": ""})

    def one(self, due: float | None) -> None:
        self.invoke(
            ECHO.name,
            payload(KILOBYTE),
            name="latency 1 KB warm",
            whole=partial(same, KILOBYTE),
            due=due,
        )
