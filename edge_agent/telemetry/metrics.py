"""The figures of OpenWhisk's user events (E1-E14) and of its invoker (E15, E18, E19).

Counted at the end of an activation with a few additions; what is a sum of them is added
up when somebody asks. All names stand here and in `node_metrics`, none is spelled
anywhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from edge_agent.model.jobs import Finished, Job
from edge_agent.telemetry.exposition import (
    SIZE_BUCKETS,
    Family,
    Histogram,
    Sample,
    joined,
    labels,
)
from edge_agent.telemetry.own_metrics import OwnMetrics

#: Actions that are remembered; the one that was first seen longest ago is forgotten.
#: A thousand would be 8 MB of text at every scrape.
ACTIONS_MOST = 500
#: Namespaces whose refusals and activations are counted apart.
NAMESPACES_MOST = 1000

ACTION = "openwhisk_action"
GLOBAL = "openwhisk_userevents_global"
CONTAINER_START = "counter_invoker_containerStart_counter_total"
COMPLETION_ACK = "counter_loadbalancer_completionAck_counter_total"
HTTP = "counter_http_{}_counter_total"

#: How OpenWhisk calls our ways of having a sandbox (D11).
CONTAINER_STATES = {"warm": "warmed", "prewarmed": "prewarmed", "cold": "cold"}
#: There is one controller and it has this number (D1).
CONTROLLER = labels(controller_id="0")


class ActionFigures:
    """What is known of one action as one namespace calls it."""

    __slots__ = (
        "activations",
        "codes",
        "duration",
        "init",
        "initiator",
        "labels",
        "memory",
        "own_labels",
        "size",
        "starts",
        "statuses",
        "wait",
    )

    def __init__(self, job: Job | None = None) -> None:
        self.initiator = "" if job is None else job.identity.namespace
        self.labels = "" if job is None else _labels_of(job)
        self.own_labels = "" if job is None else _own_labels_of(job)
        self.activations: Counter[tuple[str, int]] = Counter()
        self.statuses: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.starts: Counter[str] = Counter()
        self.memory = 0
        self.wait = Histogram()
        self.init = Histogram()
        self.duration = Histogram()
        self.size = Histogram(SIZE_BUCKETS)

    @property
    def cold_starts(self) -> int:
        return sum(self.init.counts)

    def add(self, job: Job, finished: Finished) -> None:
        action, response, init_ms = job.action, finished.response, finished.init_ms
        self.memory = memory = action.limits.memory
        self.activations[action.exec.kind, memory] += 1
        self.statuses[response.status] += 1
        self.wait.add(finished.wait_ms / 1000)
        self.duration.add((finished.run_ms + (init_ms or 0)) / 1000)
        self.size.add(response.size or 0)
        if init_ms is not None:
            self.init.add(init_ms / 1000)
        if finished.level:  # it had a sandbox
            self.starts[finished.start] += 1
        if finished.status_code:
            self.codes[finished.status_code] += 1

    def merge(self, other: ActionFigures) -> None:
        for name in ("activations", "statuses", "codes", "starts"):
            getattr(self, name).update(getattr(other, name))
        for name in ("wait", "init", "duration", "size"):
            getattr(self, name).merge(getattr(other, name))


class Metrics:
    """Owns what is counted as activations end and as callers are refused."""

    def __init__(self) -> None:
        self._actions: dict[tuple[str, str, str], ActionFigures] = {}
        self._forgotten = ActionFigures()
        self._forgotten_of: Counter[str] = Counter()
        self._refused: dict[str, list[int]] = {}
        self._runs = Histogram()
        self._blocking = Histogram()
        self._accepted = Histogram()
        self._own = OwnMetrics()
        #: (method, status) of what was answered; the API counts here.
        self.http: Counter[tuple[str, int]] = Counter()
        #: A batch of records written, in seconds; the store measures it.
        self.commits = Histogram()

    def ended(self, job: Job, finished: Finished) -> None:
        action, initiator = job.action, job.identity.namespace
        key = (action.namespace, action.name, initiator)
        figures = self._actions.get(key)
        if figures is None:
            figures = self._actions[key] = ActionFigures(job)
            if len(self._actions) > ACTIONS_MOST:
                self._forget(next(iter(self._actions)))
        figures.add(job, finished)
        if finished.composed is None:
            self._runs.add(finished.run_ms / 1000)
            if finished.logs:
                self._own.read(figures.own_labels, finished.logs)
        if job.blocking and job.cause is None:
            took_ms = finished.wait_ms + finished.run_ms + (finished.init_ms or 0)
            self._blocking.add(took_ms / 1000)

    def accepted(self, took_s: float) -> None:
        """Work was committed to disk, so long after it came."""
        self._accepted.add(took_s)

    def refused(self, namespace: str, *, rate: bool) -> None:
        """A caller had too many: in the last minute (`rate`), else at once (E10)."""
        counts = self._refused.get(namespace)
        if counts is None:
            if len(self._refused) >= NAMESPACES_MOST:
                del self._refused[next(iter(self._refused))]
            counts = self._refused[namespace] = [0, 0]
        counts[rate] += 1

    def families(self) -> Iterator[Family]:
        """All of it, as it is now."""
        actions = list(self._actions.values())
        total = ActionFigures()
        for figures in (*actions, self._forgotten):
            total.merge(figures)
        yield from _of_actions(actions)
        yield from self._of_refusals()
        yield from _of_all(total, sum(map(sum, self._refused.values())))
        yield self._of_namespaces(actions)
        yield from self._of_the_invoker(total)
        yield from self._own.families()

    def _forget(self, key: tuple[str, str, str]) -> None:
        """What its activations came to stays in the sums: counters only grow."""
        figures = self._actions.pop(key)
        self._forgotten.merge(figures)
        if len(self._forgotten_of) < NAMESPACES_MOST:
            self._forgotten_of[figures.initiator] += figures.activations.total()

    def _of_refusals(self) -> Iterator[Family]:
        for place, name, text in (
            (0, "concurrent", "Calls refused: too many at once."),
            (1, "timed", "Calls refused: too many in a minute."),
        ):
            samples = [
                (labels(namespace=namespace), float(counts[place]))
                for namespace, counts in self._refused.items()
            ]
            yield Family(f"{ACTION}_limit_{name}_total", "counter", text, samples)

    def _of_namespaces(self, actions: list[ActionFigures]) -> Family:
        counts = Counter(self._forgotten_of)
        for figures in actions:
            counts[figures.initiator] += figures.activations.total()
        return Family(
            "openwhisk_namespace_activations_total",
            "counter",
            "Activations by the namespace that called.",
            [(labels(namespace=n, initiator=n), c) for n, c in counts.items()],
        )

    def _of_the_invoker(self, total: ActionFigures) -> Iterator[Family]:
        for name, figure, text in (
            ("invoker_activationRun", self._runs, "Runs."),
            ("invoker_activationInit", total.init, "Inits."),
            ("controller_activation", self._accepted, "From a call to its 202."),
            ("controller_blockingActivation", self._blocking, "Calls that wait."),
            ("database_saveDocumentBulk", self.commits, "Transactions of the store."),
        ):
            yield Family(
                f"histogram_{name}_finish_seconds", "histogram", text, [("", figure)]
            )
        ended = float(sum(total.statuses.values()))
        regular = joined(CONTROLLER, labels(type="regular"))
        text = "Activations that have ended."
        yield Family(COMPLETION_ACK, "counter", text, [(regular, ended)])
        for method in sorted({method for method, _ in self.http}):
            samples = [
                (labels(statusCode=str(status)), float(count))
                for (of, status), count in self.http.items()
                if of == method
            ]
            text = f"Answers to {method}."
            yield Family(HTTP.format(method.lower()), "counter", text, samples)


def _labels_of(job: Job) -> str:
    """E12."""
    name = job.action.full_name
    return labels(
        namespace=name.namespace,
        initiator=job.identity.namespace,
        action=name.within,
    )


def _own_labels_of(job: Job) -> str:
    name = job.action.full_name
    return labels(namespace=name.namespace, action=name.within)


Figure = Callable[[ActionFigures], float | Histogram]

#: Families with one sample for each action: name, kind, help and the figure.
SINGLE: tuple[tuple[str, str, str, Figure], ...] = (
    ("coldStarts_total", "counter", "Cold starts.", attrgetter("cold_starts")),
    ("waitTime_seconds", "histogram", "From acceptance.", attrgetter("wait")),
    ("initTime_seconds", "histogram", "Inits.", attrgetter("init")),
    ("duration_seconds", "histogram", "Inits and runs.", attrgetter("duration")),
    ("response_size_bytes", "histogram", "Sizes of results.", attrgetter("size")),
    ("memory", "gauge", "Memory limit, in MB.", attrgetter("memory")),
)


def _of_actions(actions: Iterable[ActionFigures]) -> Iterator[Family]:
    yield _several(
        f"{ACTION}_activations_total",
        "Activations.",
        actions,
        lambda one: (
            (labels(kind=kind, memory=str(memory)), count)
            for (kind, memory), count in one.activations.items()
        ),
    )
    yield _several(
        f"{ACTION}_status",
        "Activations by what became of them.",
        actions,
        lambda one: (
            (labels(status=_status(status)), count)
            for status, count in one.statuses.items()
        ),
    )
    yield _several(
        f"{ACTION}_status_code",
        "Activations by the statusCode in their result.",
        actions,
        lambda one: (
            (labels(status_code=str(code)), count) for code, count in one.codes.items()
        ),
    )
    for name, kind, text, figure in SINGLE:
        samples = ((one.labels, figure(one)) for one in actions)
        yield Family(f"{ACTION}_{name}", kind, text, samples)
    yield _several(
        CONTAINER_START,
        "Runs by how their sandbox was had.",
        actions,
        lambda one: (
            (labels(containerState=CONTAINER_STATES[start]), count)
            for start, count in one.starts.items()
        ),
    )


def _several(
    name: str,
    text: str,
    actions: Iterable[ActionFigures],
    each: Callable[[ActionFigures], Iterable[Sample]],
) -> Family:
    samples = (
        (joined(one.labels, more), count)
        for one in actions
        for more, count in each(one)
    )
    return Family(name, "counter", text, samples)


def _of_all(total: ActionFigures, refusals: int) -> Iterator[Family]:
    """E14: Kamon's names, of which Prometheus' reporter makes these."""
    statuses = {_status(status): count for status, count in total.statuses.items()}
    ended = sum(statuses.values())
    statuses["failure"] = ended - statuses.get("success", 0)
    by_status = [(labels(status=s), float(c)) for s, c in statuses.items()]
    for name, text, samples in (
        ("activations", "Activations.", [("", float(ended))]),
        ("metric", "Refusals.", [("", float(refusals))]),
        ("status", "Activations by what became of them.", by_status),
        ("coldStarts", "Cold starts.", [("", float(total.cold_starts))]),
    ):
        yield Family(f"{GLOBAL}_{name}_total", "counter", text, samples)
    for name, figure in (
        ("waitTime", total.wait),
        ("initTime", total.init),
        ("duration", total.duration),
    ):
        text = "Of all activations."
        yield Family(f"{GLOBAL}_{name}_seconds", "histogram", text, [("", figure)])
    lag = "openwhisk_userevents_consumer_lag"
    yield Family(lag, "gauge", "Nothing is between: none.", [("", 0.0)])


def _status(text: str) -> str:
    return text.replace(" ", "_")
