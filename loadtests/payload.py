"""Experiment B: what the size of parameters and result costs.

An echo with 1 KB, 100 KB and 1 MB in and out; each size has its own line.
"""

from __future__ import annotations

from functools import partial

from _actions import ECHO
from _payloads import HUNDRED_KB, ONE_KB, ONE_MB, Size, came_back, payload
from _user import ActionUser
from locust import task


class PayloadUser(ActionUser):
    sources = (ECHO,)

    def on_start(self) -> None:
        self.warm(ECHO, {"data": ""})

    @task
    def one_kb(self) -> None:
        self._echo(ONE_KB)

    @task
    def hundred_kb(self) -> None:
        self._echo(HUNDRED_KB)

    @task
    def one_mb(self) -> None:
        self._echo(ONE_MB)

    def _echo(self, size: Size) -> None:
        self.invoke(
            ECHO, payload(size), name=f"payload {size}", whole=partial(came_back, size)
        )
