"""A shape for those who ask for it: calm, and ten times the users for 10 s a minute.

locust -f loadtests,loadtests/_shape_spikes.py LatencyUser PayloadUser --headless -t 5m
"""

from __future__ import annotations

from locust import LoadTestShape

CALM_USERS, SPIKE_USERS = 4, 40
PERIOD_S, SPIKE_S = 60.0, 10.0


class SpikesShape(LoadTestShape):
    def tick(self) -> tuple[int, float]:
        spike = self.get_run_time() % PERIOD_S >= PERIOD_S - SPIKE_S
        users = SPIKE_USERS if spike else CALM_USERS
        return users, float(users)
