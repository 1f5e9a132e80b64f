"""The figures of OpenWhisk's user events and pool, as Prometheus' text (E1-E16).

Counted at the end of an activation with a few additions; text is made when somebody
asks. The names are upstream's, which a Prometheus client would change: counters here
have no `_total` unless theirs has. `openwhisk_action_status_code` is left out: it would
mean reading every result.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from edge_agent.model.jobs import Finished, Job

_MILLISECONDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
TIME_BUCKETS_S = tuple(ms / 1000 for ms in _MILLISECONDS)
SIZE_BUCKETS = tuple(float(n << 20) for n in range(10))
#: Actions that are remembered; the one that was first seen longest ago is forgotten.
ACTIONS_MOST = 2000

ACTIVATIONS = "openwhisk_action_activations_total"
COLD_STARTS = "openwhisk_action_coldStarts_total"
WAIT_TIME = "openwhisk_action_waitTime_seconds"
INIT_TIME = "openwhisk_action_initTime_seconds"
DURATION = "openwhisk_action_duration_seconds"
RESPONSE_SIZE = "openwhisk_action_response_size_bytes"
STATUS = "openwhisk_action_status"
MEMORY = "openwhisk_action_memory"
POOL = "gauge_containerPool_{}_counter"

Labels = dict[str, str]


class Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        sums = list(accumulate(self.counts))
        bounds = [*(f"{bound:.15g}" for bound in self.bounds), "+Inf"]
        for bound, count in zip(bounds, sums, strict=True):
            yield _line(f"{name}_bucket", {**labels, "le": bound}, count)
        yield _line(f"{name}_sum", labels, self.total)
        yield _line(f"{name}_count", labels, sums[-1])


class ActionFigures:
    """What is known of one action as one namespace calls it."""

    def __init__(self, job: Job) -> None:
        name = job.action.full_name
        self.labels = {
            "namespace": name.namespace,
            "initiator": job.identity.namespace,
            "action": name.within,
        }
        self.activations: dict[tuple[str, int], int] = {}
        self.statuses: dict[str, int] = {}
        self.cold_starts = 0
        self.memory = 0
        self.histograms = {
            WAIT_TIME: Histogram(TIME_BUCKETS_S),
            INIT_TIME: Histogram(TIME_BUCKETS_S),
            DURATION: Histogram(TIME_BUCKETS_S),
            RESPONSE_SIZE: Histogram(SIZE_BUCKETS),
        }

    def add(self, job: Job, finished: Finished) -> None:
        self.memory = job.action.limits.memory
        key = (job.action.exec.kind, self.memory)
        self.activations[key] = self.activations.get(key, 0) + 1
        response = finished.response
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        histograms = self.histograms
        histograms[WAIT_TIME].add(finished.wait_ms / 1000)
        histograms[DURATION].add((finished.run_ms + (finished.init_ms or 0)) / 1000)
        histograms[RESPONSE_SIZE].add(response.size or 0)
        if finished.init_ms is not None:
            self.cold_starts += 1
            histograms[INIT_TIME].add(finished.init_ms / 1000)

    def samples(self, fixed: Labels, family: str) -> Iterator[str]:
        labels = {**fixed, **self.labels}
        if family == ACTIVATIONS:
            for (kind, memory), count in self.activations.items():
                more = {"kind": kind, "memory": str(memory)}
                yield _line(family, {**labels, **more}, count)
        elif family == STATUS:
            for status, count in self.statuses.items():
                more = {"status": status.replace(" ", "_")}
                yield _line(family, {**labels, **more}, count)
        elif family == COLD_STARTS:
            yield _line(family, labels, self.cold_starts)
        elif family == MEMORY:
            yield _line(family, labels, self.memory)
        else:
            yield from self.histograms[family].lines(family, labels)


FAMILIES: Mapping[str, str] = {
    ACTIVATIONS: "counter",
    COLD_STARTS: "counter",
    WAIT_TIME: "histogram",
    INIT_TIME: "histogram",
    DURATION: "histogram",
    RESPONSE_SIZE: "histogram",
    STATUS: "counter",
    MEMORY: "gauge",
}


class Metrics:
    def __init__(self) -> None:
        self._actions: dict[tuple[object, str], ActionFigures] = {}

    def ended(self, job: Job, finished: Finished) -> None:
        key = (job.action.full_name, job.identity.namespace)
        figures = self._actions.get(key)
        if figures is None:
            if len(self._actions) >= ACTIONS_MOST:
                del self._actions[next(iter(self._actions))]
            figures = self._actions[key] = ActionFigures(job)
        figures.add(job, finished)

    def text(self, fixed: Labels, pool: Mapping[str, int]) -> str:
        """All of it; `fixed` labels go on every line, `pool` is E16's by short name."""
        lines: list[str] = []
        for family, kind in FAMILIES.items():
            lines.append(f"# TYPE {family} {kind}")
            for figures in self._actions.values():
                lines.extend(figures.samples(fixed, family))
        for short, count in pool.items():
            name = POOL.format(short)
            lines += [f"# TYPE {name} gauge", _line(name, fixed, count)]
        return "\n".join(lines) + "\n"


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
