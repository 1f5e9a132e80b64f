"""Hours of an ordinary load: does anything grow, slow down or get lost?

Each user makes a blocking call of 1 KB and one that is only accepted, whose record it
reads later: one that never comes is a failure. Let it run at a rate the node holds:

    locust -f loadtests SoakUser --headless -u 4 -t 8h --rate 5
"""

from __future__ import annotations

import json
import time
from functools import partial

import gevent
from _actions import ECHO
from _entities import entity_name
from _openwhisk import NAMESPACE
from _payloads import KILOBYTE, payload, same
from _user import ActionUser, failure_text

POLL_S = 0.2
PATIENCE_S = 60.0


class SoakUser(ActionUser):
    sources = (ECHO,)

    def on_start(self) -> None:
        self.warm(ECHO.name, {"data": ""})

    def one(self, due: float | None) -> None:
        self.invoke(
            ECHO.name,
            payload(KILOBYTE),
            name="soak blocking",
            whole=partial(same, KILOBYTE),
            due=due,
        )
        self._accept()

    def _accept(self) -> None:
        path = f"{NAMESPACE}/actions/{entity_name(ECHO.name, self.options)}"
        begun = time.perf_counter()
        response = self.aside.post(path, data="{}", headers=self.headers)
        content = response.content or b""
        if response.status_code != 202:  # noqa: PLR2004
            text = failure_text(response.status_code, content)
            self.report("soak accepted, then read", 0, error=text)
            return
        found = self._found(json.loads(content)["activationId"])
        ms = (time.perf_counter() - begun) * 1000
        error = None if found else f"202, but no record in {PATIENCE_S:.0f} s: lost"
        self.report("soak accepted, then read", ms, error=error)

    def _found(self, activation: str) -> bool:
        path = f"{NAMESPACE}/activations/{activation}"
        deadline = time.monotonic() + PATIENCE_S
        while self.aside.get(path, headers=self.headers).status_code != 200:  # noqa: PLR2004
            if time.monotonic() > deadline:
                return False
            gevent.sleep(POLL_S)
        return True
