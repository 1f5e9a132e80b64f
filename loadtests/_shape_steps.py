"""A shape for those who ask for it: twice the users every half minute.

Locust lets the first shape it finds rule the whole run, so shapes are never found by
themselves; name the file beside the folder:

    locust -f loadtests,loadtests/_shape_steps.py ConcurrencyUser --headless -t 5m
"""

from __future__ import annotations

from locust import LoadTestShape

STEP_S = 30.0
MOST_USERS = 1024


class StepsShape(LoadTestShape):
    def tick(self) -> tuple[int, float]:
        step = int(self.get_run_time() // STEP_S)
        users = min(2**step, MOST_USERS)
        return users, float(users)
