"""A run as one JSON-ready document, which the report is drawn from. Pure.

    {"format", "time", "target", "quick", "repetitions", "environment", "nodes",
     "scenarios": [{"name", "requests", "failures", "rate_per_s", "p50_ms", "p99_ms",
                    "points": [{"label", "axes", "users", "rate", "seconds",
                                "lines": [...], "usage": [...], "cost": {...}}]}],
     "watch": {node: {"at_s": [...], "agent_cores": [...], ...}},
     "skew": {node: {"ms", "error_ms"}}, "not_measured": [...]}

A line is that of `summary.Summary`. The rate of a scenario is the best of its points;
its percentiles are over all its calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any

from controller.loadtest.locust_run import Stay
from controller.loadtest.plan import Point, Terms
from controller.loadtest.samples import Sample, by_name
from controller.loadtest.statistics import percentile
from controller.loadtest.summary import Summary, summarize, timeline
from controller.loadtest.usage import Prices, usages
from controller.loadtest.watch import Moment, Watch

FORMAT = 1
ALWAYS_MISSING = (
    "energy was not measured, only reckoned from the watts given",
    "what the network between generator and node does to the times",
)


@dataclass(frozen=True)
class Measured:
    point: Point
    stays: Sequence[Stay]
    begun: float
    ended: float

    @property
    def samples(self) -> list[Sample]:
        return [sample for each in self.stays for sample in each.samples]


def document(
    measured: Sequence[Measured],
    *,
    target: str,
    begun: float,
    terms: Terms,
    prices: Prices,
    environment: Mapping[str, Any],
    watch: Watch,
    missing: Sequence[str],
) -> dict[str, Any]:
    groups = groupby(measured, key=lambda each: each.point.scenario)
    moments = list(watch.moments)
    return {
        "format": FORMAT,
        "time": datetime.fromtimestamp(begun, UTC).isoformat(timespec="seconds"),
        "target": target,
        "quick": terms.quick,
        "repetitions": max(len(each.stays) for each in measured),
        "environment": environment,
        "nodes": {name: _facts(node) for name, node in watch.nodes.items()},
        "scenarios": [
            _scenario(name, list(each), moments, prices) for name, each in groups
        ],
        "watch": _curves(moments),
        "skew": _skews(moments),
        "not_measured": [
            *missing,
            *([] if moments else ["the nodes: only agents of ours tell"]),
            *ALWAYS_MISSING,
        ],
    }


def _scenario(
    name: str,
    measured: Sequence[Measured],
    moments: Sequence[Moment],
    prices: Prices,
) -> dict[str, Any]:
    times = sorted(s.latency_ms for each in measured for s in each.samples)
    points = [_point(each, moments, prices) for each in measured]
    lines = [line for point in points for line in point["lines"]]
    return {
        "name": name,
        "requests": sum(line["requests"] for line in lines),
        "failures": sum(line["failures"] for line in lines),
        "rate_per_s": max(line["rate_per_s"] for line in lines),
        "p50_ms": round(percentile(times, 0.5), 3),
        "p99_ms": round(percentile(times, 0.99), 3),
        "points": points,
    }


def _point(
    measured: Measured, moments: Sequence[Moment], prices: Prices
) -> dict[str, Any]:
    point, summaries = measured.point, summaries_of(measured)
    best = max(each.rate_per_s.value for each in summaries)
    seconds = measured.ended - measured.begun
    return {
        "label": point.label,
        "axes": dict(point.axes),
        "users": point.users,
        "rate": point.rate,
        "seconds": point.seconds,
        "lines": [each.document() for each in summaries],
        "usage": [
            asdict(each) for each in usages(moments, measured.begun, measured.ended)
        ],
        "cost": prices.of(best, seconds) if best else {},
        "timeline": [asdict(each) for each in timeline(measured.stays[0].samples)],
    }


def summaries_of(measured: Measured) -> list[Summary]:
    """Its lines; a line's repetitions are those in which it was called."""
    stays = [by_name(each.samples) for each in measured.stays]
    names = dict.fromkeys(name for each in stays for name in each)
    open_loop = measured.point.rate is not None
    return [
        summarize(name, [each.get(name, []) for each in stays], open_loop=open_loop)
        for name in names
    ]


def _facts(node: Mapping[str, Any]) -> dict[str, Any]:
    known = ("version", "machine", "python", "kernel", "kinds", "isolation")
    facts = {name: node.get(name) for name in known}
    sensors = node.get("sensors") or {}
    return {**facts, "cpus": sensors.get("cpus"), "memory": sensors.get("memory")}


def _curves(moments: Sequence[Moment]) -> dict[str, dict[str, list[Any]]]:
    ordered = sorted(moments, key=lambda each: (each.node, each.at_s))
    nodes = groupby(ordered, key=lambda each: each.node)
    return {name: _curve(list(each)) for name, each in nodes}


def _curve(moments: Sequence[Moment]) -> dict[str, list[Any]]:
    """Cores at work between one time and the next, memory and heat at the later."""
    begun = moments[0].at_s
    curve: dict[str, list[Any]] = {
        name: []
        for name in ("at_s", "agent", "sandboxes", "machine", "agent_mb", "heat_c")
    }
    for before, after in pairwise(moments):
        passed = after.at_s - before.at_s
        curve["at_s"].append(round(after.at_s - begun, 2))
        for name in ("agent", "sandboxes", "machine"):
            first, last = (getattr(m, f"{name}_s") for m in (before, after))
            known = first is not None and last is not None and last >= first
            curve[name].append(round((last - first) / passed, 3) if known else None)
        curve["agent_mb"].append((after.agent_bytes or 0) / (1 << 20))
        curve["heat_c"].append(after.temperature_c)
    return curve


def _skews(moments: Sequence[Moment]) -> dict[str, dict[str, float]]:
    """From the quickest answer of each node, whose error is the least."""
    best: dict[str, Moment] = {}
    for each in moments:
        if each.node not in best or each.skew_error_ms < best[each.node].skew_error_ms:
            best[each.node] = each
    return {
        name: {"ms": round(m.skew_ms, 2), "error_ms": round(m.skew_error_ms, 2)}
        for name, m in best.items()
    }
