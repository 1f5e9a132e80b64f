"""Experiment B: what the size of parameters and result costs.

An echo with 1 KB, 100 KB and 1 MB in and out, in turn; each size has its own line.
Other sizes:

    locust -f loadtests PayloadUser --headless -t 30s --payload-bytes 0,17,1024
"""

from __future__ import annotations

import random
from functools import partial

from _actions import ECHO
from _payloads import KILOBYTE, MEGABYTE, payload, same, size_text
from _user import ActionUser

SIZES = (KILOBYTE, 100 * KILOBYTE, MEGABYTE)


class PayloadUser(ActionUser):
    sources = (ECHO,)

    def on_start(self) -> None:
        self.warm(ECHO.name, {"data": ""})

    def one(self, due: float | None) -> None:
        size = random.choice(self.options.payload_bytes or SIZES)
        self.invoke(
            ECHO.name,
            payload(size),
            name=f"payload {size_text(size)}",
            whole=partial(same, size),
            due=due,
        )
