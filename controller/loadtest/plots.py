"""The pictures of a run, from its document. Pure.

One for each question a scenario asks; where others have published an answer, theirs is
the thin line. A size of zero stands at one byte, since the axes are logarithmic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from controller.loadtest.prior import prior
from controller.mapreduce.figure import Figure
from controller.mapreduce.plot import Axis, Curve, plot

_HOP = re.compile(r"transfer ([\d,]+) (B|KB|MB) hop")
_UNITS = {"B": 1, "KB": 1024, "MB": 1_024_000}
_STEP = 5  # per cent between two quantiles
Points = Sequence[Mapping[str, Any]]


def plots(run: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Names for files, and what to draw, in the order of the report."""
    for scenario in run["scenarios"]:
        name, points = scenario["name"], scenario["points"]
        for kind, draw in _OF.get(name, {"over-time": _over_time}).items():
            figure = draw(points)
            if figure is not None:
                yield f"{name}-{kind}", figure
    for node, curve in run["watch"].items():
        yield from _node(node, curve)


def _rate_by_slots(points: Points) -> Figure | None:
    best: dict[float, float] = {}
    for point in points:
        slots = point["axes"].get("slots")
        if slots is not None:
            best[slots] = max(best.get(slots, 0.0), _total(point, "rate_per_s"))
    if not best:
        return None
    curves = [
        Curve("this run", sorted(best.items())),
        Curve(prior().name, prior().rate_by_slots, thin=True),
        Curve("ideal: slots / 30 ms", [(n, n / 0.03) for n in sorted(best)], thin=True),
    ]
    title = "30 ms action: the most calls per second, by slots"
    return plot(title, curves, x=Axis("slots"), y=Axis("calls/s", log=True))


def _time_by_clients(points: Points) -> Figure | None:
    curves = []
    for slots, group in _groups(points, "slots"):
        for key in ("p50_ms", "p99_ms"):
            name = f"{key[:3]}, {slots} slots" if slots else key[:3]
            curve = [(p["axes"]["clients"], _worst(p, key)) for p in group]
            curves.append(Curve(name, curve, thin=key == "p99_ms"))
    title = "30 ms action: latency by clients (thin: p99)"
    return plot(title, curves, x=Axis("clients", log=True), y=Axis("ms", log=True))


def _rate_by_payload(points: Points) -> Figure | None:
    curves = []
    for slots, group in _groups(points, "slots"):
        curve = [(_size(p), max(_total(p, "rate_per_s"), 0.01)) for p in group]
        curves.append(Curve(f"{slots} slots" if slots else "this run", curve))
        theirs = prior().rate_by_payload.get(str(slots))
        if theirs:
            curves.append(Curve(f"{prior().name}, {slots} slots", theirs, thin=True))
    title = "Payload in and out: calls per second by size"
    return plot(title, curves, x=Axis("bytes", log=True), y=Axis("calls/s", log=True))


def _time_by_payload(points: Points) -> Figure | None:
    curves = []
    for slots, group in _groups(points, "slots"):
        for key in ("p50_ms", "p99_ms"):
            name = f"{key[:3]}, {slots} slots" if slots else key[:3]
            curve = [(_size(p), _worst(p, key)) for p in group]
            curves.append(Curve(name, curve, thin=key == "p99_ms"))
    title = "Payload in and out: latency by size (thin: p99)"
    return plot(title, curves, x=Axis("bytes", log=True), y=Axis("ms", log=True))


def _hops(points: Points) -> Figure | None:
    curves = []
    for point in points:
        found = [
            (max(int(match[1].replace(",", "")) * _UNITS[match[2]], 1), line["p50_ms"])
            for line in point["lines"]
            if (match := _HOP.fullmatch(line["name"]))
        ]
        if found:
            name = str(point["axes"].get("language", "this run"))
            curves.append(Curve(name, [(x, max(y, 0.01)) for x, y in sorted(found)]))
    if not curves:
        return None
    curves.append(Curve(prior().name, prior().hop_ms, thin=True))
    title = "From one action to the next: median hop by size"
    return plot(title, curves, x=Axis("bytes", log=True), y=Axis("ms", log=True))


def _cold(points: Points) -> Figure | None:
    curves = []
    for point in points:
        line = next((ln for ln in point["lines"] if ln["cold"]), None)
        if line is not None:
            curve = [(ms, n * _STEP) for n, ms in enumerate(line["quantiles_ms"])]
            curves.append(Curve(line["name"].removeprefix("coldstart "), curve))
    if not curves:
        return None
    low, high = prior().cold_ms
    curves.append(Curve(prior().name, [(low, 0), (high, 100)], thin=True))
    title = "Cold starts: how many calls took at most so long"
    return plot(title, curves, x=Axis("ms", log=True), y=Axis("%", zero=True))


def _bursts(points: Points) -> Figure | None:
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        axes = point["axes"]
        if axes.get("memory_mb", 256) != 256:  # noqa: PLR2004
            continue
        whole = [ln for ln in point["lines"] if ln["name"].endswith(": all")]
        for line in whole:
            name = f"{axes['work']}, {axes['language']}"
            found.setdefault(name, []).append((axes["tasks"], line["max_ms"] / 1000))
    if not found:
        return None
    curves = [Curve(name, curve) for name, curve in found.items()]
    curves.append(Curve(prior().burst_name, prior().burst_s, thin=True))
    title = "Many small tasks at once: until the last has ended"
    return plot(title, curves, x=Axis("tasks", log=True), y=Axis("s", log=True))


def _by_clients(points: Points) -> Figure | None:
    curves = []
    for qos, group in _groups(points, "qos"):
        curve = [(p["axes"]["clients"], _worst(p, "p50_ms")) for p in group]
        curves.append(Curve(f"QoS {qos}, p50", curve))
    title = "From a message to its result"
    return plot(title, curves, x=Axis("clients", log=True), y=Axis("ms", log=True))


def _over_time(points: Points) -> Figure | None:
    curves = []
    for point in points:
        name = str(point["axes"].get("loop", ""))
        for key in ("p50_ms", "p99_ms"):
            curve = [
                (second["at_s"], max(second[key], 0.01))
                for second in point["timeline"]
                if second[key] is not None
            ]
            label = f"{key[:3]} {name}".strip()
            curves.append(Curve(label, curve, thin=key == "p99_ms"))
    title = "Latency over time (thin: p99)"
    return plot(title, curves, x=Axis("s", zero=True), y=Axis("ms", log=True))


_OF: Mapping[str, Mapping[str, Callable[[Points], Figure | None]]] = {
    "concurrency": {"rate": _rate_by_slots, "latency": _time_by_clients},
    "payload": {"rate": _rate_by_payload, "latency": _time_by_payload},
    "transfer": {"hop": _hops},
    "coldstart": {"distribution": _cold},
    "burst": {"makespan": _bursts},
    "mqtt": {"latency": _by_clients},
}


def _node(node: str, curve: Mapping[str, list[Any]]) -> Iterator[tuple[str, Figure]]:
    pictures = {
        "cpu": ("Cores at work", "cores", ("machine", "agent", "sandboxes")),
        "memory": ("Memory of the agent", "MB", ("agent_mb",)),
        "heat": ("Temperature", "degrees Celsius", ("heat_c",)),
    }
    label = re.sub(r"[^\w-]", "_", f"{node}-") if node else ""
    for kind, (title, unit, names) in pictures.items():
        curves = [Curve(name, _known(curve, name)) for name in names]
        drawn = [each for each in curves if each.points]
        if drawn:
            heading = f"{title}: {node}" if node else title
            axes = {"x": Axis("s", zero=True), "y": Axis(unit, zero=True)}
            yield f"node-{label}{kind}", plot(heading, drawn, **axes)


def _known(curve: Mapping[str, list[Any]], name: str) -> list[tuple[float, float]]:
    pairs = zip(curve["at_s"], curve[name], strict=True)
    return [(at, value) for at, value in pairs if value is not None]


def _groups(points: Points, axis: str) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for point in points:
        groups.setdefault(point["axes"].get(axis), []).append(point)
    return list(groups.items())


def _size(point: Mapping[str, Any]) -> float:
    return max(float(point["axes"]["payload_bytes"]), 1.0)


def _total(point: Mapping[str, Any], key: str) -> float:
    return float(sum(line[key] for line in point["lines"]))


def _worst(point: Mapping[str, Any], key: str) -> float:
    return max(0.01, *(float(line[key]) for line in point["lines"]))
