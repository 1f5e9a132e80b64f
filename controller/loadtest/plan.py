"""Which points a scenario is measured at. Pure.

A point is one stay of Locust on the host: so many clients for so many seconds, with
the scenario's options; its axes are what changes from one point to the next, and what a
plot has below and beside it. Repetitions are the same point again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

KB, MB = 1024, 1_024_000
LANGUAGES = ("python", "nodejs")


Axes = Mapping[str, float | str]


@dataclass(frozen=True)
class Terms:
    """What the target allows (the rest is left out, and said), and how thoroughly."""

    quick: bool

    slots: bool
    languages: tuple[str, ...]
    broker: str = ""


@dataclass(frozen=True)
class Point:
    scenario: str
    user: str
    users: int
    #: None: the scenario ends by itself.
    seconds: float | None
    axes: Axes = field(default_factory=dict)
    options: tuple[str, ...] = ()
    rate: float | None = None

    @property
    def label(self) -> str:
        axes = ", ".join(f"{name} {value}" for name, value in self.axes.items())
        return f"{self.scenario} ({axes})" if axes else self.scenario


def points_of(scenario: str, terms: Terms) -> list[Point]:
    return list(_PLANS[scenario](terms))


def left_out(scenario: str, terms: Terms) -> str | None:
    """What of a scenario this target does not allow, in words."""
    if scenario in _SWEEPING and not terms.slots:
        return "slots were not swept: the target has no /edge/v1/settings, or its key"
    if scenario == "mqtt" and not terms.broker:
        return "no broker is named (--broker) and no local fleet has one"
    return None


def _concurrency(terms: Terms) -> Iterator[Point]:
    slots = _slots(terms, (1, 2, 4) if terms.quick else (1, 2, 3, 4, 5, 6, 8))
    clients = (1, 4, 16) if terms.quick else (1, 2, 4, 8, 16, 32)
    for count, users in product(slots, clients):
        yield _swept("concurrency", count, {"clients": users}, users, _long(terms))


def _payload(terms: Terms) -> Iterator[Point]:
    slots = _slots(terms, (1, 2, 4) if terms.quick else (1, 2, 3, 4, 5))
    sizes = (
        (0, KB, 100 * KB, MB)
        if terms.quick
        else (0, KB, 10 * KB, 100 * KB, 500 * KB, MB)
    )
    users = 2 if terms.quick else 4
    for count, size in product(slots, sizes):
        options = ("--payload-bytes", str(size))
        axes = {"payload_bytes": size}
        yield _swept("payload", count, axes, users, _long(terms), *options)


def _latency(terms: Terms) -> Iterator[Point]:
    seconds, rate = _long(terms) * 2, 20.0
    user = "LatencyUser"
    yield Point("latency", user, 1, seconds, {"loop": "closed"})
    yield Point("latency", user, 1, seconds, {"loop": "open"}, rate=rate)


def _transfer(terms: Terms) -> Iterator[Point]:
    variants = ("hop",) if terms.quick else ("hop", "image", "split")
    for language, variant in product(terms.languages, variants):
        axes = {"language": language, "variant": variant}
        options = ("--language", language, "--transfer", variant)
        seconds = 8.0 if terms.quick else 60.0
        yield Point("transfer", "TransferUser", 1, seconds, axes, options)


def _coldstart(terms: Terms) -> Iterator[Point]:
    # 36 MB of zip are 48 MB of base64, the most that OpenWhisk takes.
    sizes = (0, MB) if terms.quick else (0, MB, 10 * MB, 35 * MB)
    for language, size in product(terms.languages, sizes):
        options = ("--language", language, "--package-bytes", str(size))
        axes: Axes = {"language": language, "package_bytes": size}
        yield Point("coldstart", "ColdstartUser", 1, _long(terms) * 2, axes, options)


def _burst(terms: Terms) -> Iterator[Point]:
    works = ("matmul", "trees", "download", "files")
    tasks = (1000,) if terms.quick else (1000, 10_000)
    memories = (256,) if terms.quick else (128, 256, 512)
    languages = terms.languages[:1] if terms.quick else terms.languages
    for language, work, count in product(languages, works, tasks):
        yield _burst_point(language, work, count, 256)
    for memory in memories:
        if memory != 256:  # noqa: PLR2004  (is there already)
            yield _burst_point(languages[0], "matmul", tasks[-1], memory)


def _burst_point(language: str, work: str, count: int, memory: int) -> Point:
    axes: Axes = {
        "language": language,
        "work": work,
        "tasks": count,
        "memory_mb": memory,
    }
    options = ["--language", language, "--work", work, "--tasks", str(count)]
    options += ["--memory", str(memory)]
    return Point("burst", "BurstUser", 1, None, axes, tuple(options))


def _mqtt(terms: Terms) -> Iterator[Point]:
    if not terms.broker:
        return
    for qos, users in product((0, 1, 2), (1, 8) if terms.quick else (1, 8, 32)):
        options = ("--qos", str(qos), "--broker", terms.broker)
        axes = {"qos": qos, "clients": users}
        yield Point("mqtt", "MqttResultUser", users, _long(terms), axes, options)


def _mixed(terms: Terms) -> Iterator[Point]:
    seconds = 20.0 if terms.quick else 600.0
    options = ("--day", str(seconds))
    yield Point("mixed", "MixedUser", 30, seconds, {}, options)


def _soak(terms: Terms) -> Iterator[Point]:
    yield Point("soak", "SoakUser", 2, 20.0 if terms.quick else 1800.0, {}, rate=5.0)


_PLANS: Mapping[str, Callable[[Terms], Iterator[Point]]] = {
    "concurrency": _concurrency,
    "payload": _payload,
    "latency": _latency,
    "transfer": _transfer,
    "coldstart": _coldstart,
    "burst": _burst,
    "mqtt": _mqtt,
    "mixed": _mixed,
    "soak": _soak,
}
_SWEEPING = {"concurrency", "payload"}
#: Experiments A, B and C, and the latency: what a run without names does.
BY_DEFAULT = ("concurrency", "payload", "transfer", "latency")
SCENARIOS = tuple(_PLANS)


def _slots(terms: Terms, levels: tuple[int, ...]) -> tuple[int | None, ...]:
    return levels if terms.slots else (None,)


def _swept(
    scenario: str,
    slots: int | None,
    axes: Mapping[str, int],
    users: int,
    seconds: float,
    *options: str,
) -> Point:
    known = {} if slots is None else {"slots": slots}
    given = () if slots is None else ("--slots", str(slots))
    user = f"{scenario.capitalize()}User"
    return Point(scenario, user, users, seconds, {**known, **axes}, (*given, *options))


def _long(terms: Terms) -> float:
    return 2.5 if terms.quick else 15.0
