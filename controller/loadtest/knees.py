"""The limits of a target: rate, concurrency and payload that keep a service level.

rate_per_s      open loop, a warm call of 1 KB, arriving at random
concurrency     closed loop, clients of a 30 ms action
payload_bytes   closed loop, one client, in and out
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.fleet.target import Target
from controller.loadtest.errors import LoadtestError
from controller.loadtest.limits import Knee, Probe, Range, Search
from controller.loadtest.locust_run import stay
from controller.loadtest.plan import MB, Point
from controller.loadtest.samples import Sample
from controller.loadtest.slo import Level
from controller.loadtest.summary import Summary, summarize

Say = Callable[[str], None]
RATE, CONCURRENCY, PAYLOAD = "rate_per_s", "concurrency", "payload_bytes"
#: How far to look: what one generator can ask for, and what OpenWhisk takes.
RANGES = {
    RATE: Range(first=10.0, last=4000.0),
    CONCURRENCY: Range(first=1.0, last=1024.0, whole=True),
    PAYLOAD: Range(first=1024.0, last=float(MB), factor=4.0, whole=True),
}
#: A rate that is not reached is not kept: less of it arrived than this share.
REACHED = 0.95


@dataclass(frozen=True)
class Finder:
    """Searches on one target; each probe is a stay of `seconds`."""

    target: Target
    level: Level
    seconds: float
    say: Say

    def find(self, what: str, where: Range | None = None) -> Knee:
        """Search one of `RANGES`.

        Raises:
            BadLoadtest: host or key is refused.
            LoadtestError: not even the least load holds the level.
        """
        probe = self._probe(what)
        knee = Search(probe, where or RANGES[what]).run()
        if not knee.value:
            least = (where or RANGES[what]).first
            raise LoadtestError(
                f"{what}: {least:g} already breaks {self.level.text}: {knee.reason}"
            )
        return knee

    def _probe(self, what: str) -> Probe:
        point = _POINTS[what]

        def probe(load: float) -> str | None:
            summary = self._summary(point(load, self.seconds))
            broken = self.level.broken_by(summary)
            if what == RATE and broken is None:
                broken = _unreached(load, summary)
            verdict = broken or "holds"
            self.say(f"{what} {load:g}: {verdict}")
            return broken

        return probe

    def _summary(self, point: Point) -> Summary:
        samples: list[Sample] = stay(point, self.target).samples
        return summarize(point.label, [samples], open_loop=point.rate is not None)


def _unreached(load: float, summary: Summary) -> str | None:
    """The generator's own limit, which must not pass for the target's."""
    if summary.overloaded:
        return f"the generator sends {summary.late_p99_ms:.0f} ms late"
    arrived = summary.rate_per_s.value
    if arrived < REACHED * load:
        return f"only {arrived:.0f}/s were answered"
    return None


def _rate_point(load: float, seconds: float) -> Point:
    return Point("latency", "LatencyUser", 1, seconds, {"rate": load}, rate=load)


def _concurrency_point(load: float, seconds: float) -> Point:
    users = int(load)
    return Point("concurrency", "ConcurrencyUser", users, seconds, {"clients": users})


def _payload_point(load: float, seconds: float) -> Point:
    size = str(int(load))
    axes = {"payload_bytes": int(load)}
    options = ("--payload-bytes", size)
    return Point("payload", "PayloadUser", 1, seconds, axes, options)


_POINTS: Mapping[str, Callable[[float, float], Point]] = {
    RATE: _rate_point,
    CONCURRENCY: _concurrency_point,
    PAYLOAD: _payload_point,
}


def document(level: Level, knees: Mapping[str, Knee]) -> dict[str, Any]:
    """What `edgectl bench limits --json` answers."""
    found = {what: knee.document() for what, knee in knees.items()}
    return {"slo": level.text, **found}
