"""How long one warm call takes: one client, one action, 1 KB, nothing waiting.

However many users a run has, one of them measures latency; the others are the load of
the scenarios beside it.
"""

from __future__ import annotations

from functools import partial

from _actions import ECHO
from _payloads import ONE_KB, came_back, payload
from _user import ActionUser
from locust import task


class LatencyUser(ActionUser):
    sources = (ECHO,)
    fixed_count = 1

    def on_start(self) -> None:
        self.warm(ECHO, {"data": ""})

    @task
    def echo(self) -> None:
        whole = partial(came_back, ONE_KB)
        self.invoke(ECHO, payload(ONE_KB), name=f"latency {ONE_KB} warm", whole=whole)
