"""The figures of the node itself.

Its pool goes by OpenWhisk's names (E16, E17, E19); its stores, sources and sensors go
by our own.

Gauges are read from the node's report when somebody asks; a place that the report does
not have, or that is null there, has no sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from edge_agent.telemetry.exposition import Family, Sample, joined, labels
from edge_agent.telemetry.metrics import CONTROLLER

POOL = "gauge_containerPool_{}_counter"
PREWARM = "counter_containerPool_{}_counter_total"
LOAD_BALANCER = "gauge_loadbalancer_{}_counter"
OURS = "edgewhisk_"

MEBIBYTE = 1 << 20


class PoolCounts(NamedTuple):
    """`containers` by E16's names, `prewarm` by E17's: (kind, MB) -> how many."""

    containers: Mapping[str, int]
    prewarm: Mapping[str, Mapping[tuple[str, int], int]]
    in_flight: int
    in_flight_mb: int


class Gauge(NamedTuple):
    """A place in the report: `store.inbox`; of a table its keys are `label`.

    The value is a number, a truth, a text (which is true) or a list of which the first
    counts; `missing` is what null means.
    """

    name: str
    place: str
    help: str
    scale: float = 1
    kind: str = "gauge"
    label: str = ""
    missing: float | None = None


GAUGES = (
    Gauge("uptime_seconds", "uptime_s", "Since the agent was started."),
    Gauge("clock_seconds", "now_ms", "The node's wall clock.", scale=0.001),
    Gauge("clock_synced", "clock.synced", "Whether the clock can be relied on."),
    Gauge("clock_behind_seconds", "clock.behind_s", "Behind the newest time seen."),
    Gauge("pool_slots", "pool.slots", "Sandboxes of standard memory that fit."),
    Gauge("pool_running", "pool.running", "Jobs in sandboxes."),
    Gauge("pool_queued", "pool.queued", "Jobs that wait for a sandbox."),
    Gauge("pool_memory_bytes", "pool.memory_mb", "The pool's memory.", scale=MEBIBYTE),
    Gauge("pool_used_bytes", "pool.used_mb", "Declared by sandboxes.", scale=MEBIBYTE),
    Gauge("pool_sandboxes", "pool.sandboxes", "Sandboxes.", label="state"),
    Gauge("inbox_events", "store.inbox", "Accepted and not ended."),
    Gauge("inbox_bytes", "store.inbox_bytes", "Bytes of what is accepted."),
    Gauge("store_pending_bytes", "store.pending_bytes", "Not written yet."),
    Gauge("store_commits_total", "store.commits", "Transactions.", kind="counter"),
    Gauge("store_failing", "store.failure", "The disk takes nothing.", missing=0),
    Gauge("dead_letters", "store.dead_letters.count", "Events that have failed."),
    Gauge("dead_letters_bytes", "store.dead_letters.bytes", "Bytes of dead letters."),
    Gauge("dead_letters_full", "store.dead_letters.full", "No room for another one."),
    Gauge(
        "dead_letters_dropped_total",
        "store.dead_letters.dropped",
        "Dead letters that made room.",
        kind="counter",
    ),
    Gauge("dedup_keys", "store.dedup.keys", "Keys of events seen."),
    Gauge(
        "dedup_repeated_total",
        "store.dedup.repeated",
        "Events that were not run again.",
        kind="counter",
    ),
    Gauge("delivery", "delivery", "Accepted events by where they are.", label="state"),
    Gauge("alarms", "alarms.alarms", "Alarms that wait."),
    Gauge("alarms_fired_total", "alarms.fired", "Ticks.", kind="counter"),
    Gauge("cpu_temperature_celsius", "sensors.cpu_temperature_c", "The CPU's heat."),
    Gauge("throttled", "sensors.throttling.now", "A CPU held back.", label="reason"),
    Gauge(
        "throttled_since_start",
        "sensors.throttling.since_start",
        "A CPU held back since the machine was started.",
        label="reason",
    ),
    Gauge("load1", "sensors.load", "Load of the last minute."),
    Gauge("cpus", "sensors.cpus", "CPUs."),
    Gauge("memory_bytes", "sensors.memory.total_bytes", "The machine's memory."),
    Gauge(
        "memory_available_bytes", "sensors.memory.available_bytes", "Memory to be had."
    ),
    Gauge("disk_bytes", "sensors.disk.total_bytes", "The data folder's disk."),
    Gauge("disk_free_bytes", "sensors.disk.free_bytes", "Of that disk, to be had."),
)

#: Of each connection to a broker: name, key of its report, kind, help.
BROKER = (
    ("received_total", "received", "counter", "Messages."),
    ("acknowledged_total", "acknowledged", "counter", "Messages that were kept."),
    ("refused_total", "refused", "counter", "Messages that the node had no room for."),
    ("held", "held", "gauge", "Messages that wait for their commit."),
    ("published_total", "published", "counter", "Results that the broker has."),
    ("waiting", "waiting", "gauge", "Results that the broker does not have yet."),
)
CONNECTED = "connected"

#: Prometheus' own names for what every process has: name, place, kind, help.
PROCESS = (
    ("process_resident_memory_bytes", "rss_bytes", "gauge", "Memory of the agent."),
    ("process_cpu_seconds_total", "cpu_s", "counter", "CPU time of the agent."),
)


def node_families(report: Mapping[str, Any], pool: PoolCounts) -> Iterator[Family]:
    yield from _of_the_pool(pool)
    yield _info(report)
    for gauge in GAUGES:
        samples = list(_samples(gauge, report))
        if samples:
            yield Family(OURS + gauge.name, gauge.kind, gauge.help, samples)
    for name, place, kind, text in PROCESS:
        value = _number(_at(report, place))
        if value is not None:
            yield Family(name, kind, text, [("", value)])
    yield from _of_brokers(_at(report, "mqtt.brokers") or [])


def _of_the_pool(pool: PoolCounts) -> Iterator[Family]:
    for name, count in pool.containers.items():
        text = "Memory in MB." if name.endswith("Size") else "How many."
        yield Family(POOL.format(name), "gauge", text, [("", count)])
    for name, counts in pool.prewarm.items():
        samples: Iterable[Sample] = [
            (labels(memory=str(memory_mb), kind=kind), count)
            for (kind, memory_mb), count in counts.items()
        ]
        text = "Of kinds that are kept prewarmed."
        yield Family(PREWARM.format(name), "counter", text, samples)
    for name, value in (
        ("activationsInflight", pool.in_flight),
        ("memoryInflight", pool.in_flight_mb),
        ("memoryManagedInflight", pool.in_flight_mb),
        ("memoryBlackboxInflight", 0),
    ):
        text = "What runs or waits to run."
        yield Family(LOAD_BALANCER.format(name), "gauge", text, [(CONTROLLER, value)])


def _info(report: Mapping[str, Any]) -> Family:
    facts = {name: str(report.get(name, "")) for name in ("version", "machine")}
    facts["node"] = str(report.get("name", ""))
    facts["isolation"] = str(_at(report, "isolation.level") or "")
    return Family(f"{OURS}node_info", "gauge", "The node.", [(labels(**facts), 1)])


def _samples(gauge: Gauge, report: Mapping[str, Any]) -> Iterator[Sample]:
    found = _at(report, gauge.place)
    if gauge.label:
        table = found if isinstance(found, Mapping) else {}
        pairs = [(labels(**{gauge.label: str(k)}), v) for k, v in table.items()]
    else:
        pairs = [("", found)]
    for text, one in pairs:
        value = gauge.missing if one is None else _number(one)
        if value is not None:
            yield text, value * gauge.scale


def _of_brokers(brokers: list[Mapping[str, Any]]) -> Iterator[Family]:
    named = {
        joined(
            labels(broker=str(one["broker"]), namespace=str(one["namespace"])),
            labels(connection=str(number)),
        ): one
        for number, one in enumerate(brokers)
    }
    if not named:
        return
    connected: list[Sample] = [
        (text, float(one["state"] == CONNECTED)) for text, one in named.items()
    ]
    name, text = f"{OURS}mqtt_connected", "Whether the broker is there."
    yield Family(name, "gauge", text, connected)
    for name, key, kind, text in BROKER:
        samples: list[Sample] = [(at, float(one[key])) for at, one in named.items()]
        yield Family(f"{OURS}mqtt_{name}", kind, text, samples)


def _at(report: Mapping[str, Any], place: str) -> Any:
    found: Any = report
    for key in place.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _number(value: Any) -> float | None:
    match value:
        case bool() | int() | float():
            return float(value)
        case [first, *_]:
            return float(first)
        case str():
            return 1.0
        case _:
            return None
