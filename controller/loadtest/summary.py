"""What the calls of one line come to. Pure.

Latency counts from when a call was due (open loop) or sent (closed loop) to its answer,
failed calls included: a host that fails fast must not look fast, so failures are named
beside the percentiles. The host's own times are medians over what it said.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.loadtest.samples import Sample
from controller.loadtest.statistics import Estimate, bootstrap, percentile

SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p99_9_ms": 0.999}
#: A run of one piece is cut into so many, for an interval at all.
BLOCKS = 5
STEPS = 20
#: A generator that sends later than this is not a generator: p99, in ms.
LATE_MS = 10.0
LATE_SHARE = 0.99


@dataclass(frozen=True)
class Summary:
    """One line of the table. Times in ms, rates per second."""

    name: str
    loop: str
    requests: int
    failures: int
    cold: int
    rate_per_s: Estimate
    latency: Mapping[str, Estimate]
    max_ms: float
    #: From the quickest to the slowest call in steps of 5 %.
    quantiles_ms: Sequence[float]
    wait_ms: float | None
    init_ms: float | None
    run_ms: float | None
    overhead_share: float | None
    late_p99_ms: float
    bytes_per_s: float
    errors: Mapping[str, int]
    statuses: Mapping[int, int]

    @property
    def tail_to_median(self) -> float:
        return self.latency["p99_ms"].value / max(self.latency["p50_ms"].value, 1e-6)

    @property
    def overloaded(self) -> bool:
        """The generator could not keep its own schedule: the figures are its own."""
        return self.late_p99_ms > LATE_MS

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "loop": self.loop,
            "requests": self.requests,
            "failures": self.failures,
            "cold": self.cold,
            "rate_per_s": round(self.rate_per_s.value, 2),
            **{key: round(each.value, 3) for key, each in self.latency.items()},
            "max_ms": round(self.max_ms, 3),
            "tail_to_median": round(self.tail_to_median, 2),
            "quantiles_ms": [round(value, 3) for value in self.quantiles_ms],
            "intervals": {
                "rate_per_s": self.rate_per_s.document(),
                **{key: each.document() for key, each in self.latency.items()},
            },
            "server": {
                "wait_ms": self.wait_ms,
                "init_ms": self.init_ms,
                "run_ms": self.run_ms,
                "overhead_share": self.overhead_share,
            },
            "late_p99_ms": round(self.late_p99_ms, 3),
            "generator_overloaded": self.overloaded,
            "bytes_per_s": round(self.bytes_per_s, 1),
            "errors": dict(self.errors),
            "statuses": {str(status): n for status, n in self.statuses.items()},
        }


def summarize(
    name: str, repetitions: Sequence[Sequence[Sample]], *, open_loop: bool
) -> Summary:
    """Sum up one line.

    Args:
        name: of the line.
        repetitions: its calls, apart for each repetition; at least one has a call.
        open_loop: whether calls came when they were due.
    """
    pieces = [_ordered(each) for each in repetitions if each]
    pieces = pieces if len(pieces) > 1 else _blocks(pieces[0])
    samples = [sample for piece in pieces for sample in piece]
    times = sorted(sample.latency_ms for sample in samples)
    return Summary(
        name=name,
        loop="open" if open_loop else "closed",
        requests=len(samples),
        failures=sum(sample.error is not None for sample in samples),
        cold=sum(sample.cold for sample in samples),
        rate_per_s=bootstrap([_rate(piece) for piece in pieces]),
        latency=_latency(times, pieces),
        max_ms=times[-1],
        quantiles_ms=[percentile(times, step / STEPS) for step in range(STEPS + 1)],
        wait_ms=_median(sample.wait_ms for sample in samples),
        init_ms=_median(sample.init_ms for sample in samples),
        run_ms=_median(sample.run_ms for sample in samples),
        overhead_share=_overhead(samples),
        late_p99_ms=percentile(sorted(s.late_ms for s in samples), LATE_SHARE),
        bytes_per_s=sum(s.size_bytes for s in samples) / _span(samples),
        errors=Counter(s.error for s in samples if s.error is not None),
        statuses=Counter(s.status for s in samples),
    )


def _latency(
    ordered: Sequence[float], pieces: Sequence[Sequence[Sample]]
) -> dict[str, Estimate]:
    """The percentile of all calls; the interval is the one over the pieces."""
    parts = [sorted(sample.latency_ms for sample in piece) for piece in pieces]
    found = {}
    for key, share in SHARES.items():
        spread = bootstrap([percentile(part, share) for part in parts])
        value = percentile(ordered, share)
        low, high = min(value, spread.low), max(value, spread.high)
        found[key] = Estimate(value, low, high)
    return found


def _ordered(samples: Iterable[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.due_s)


def _blocks(samples: list[Sample]) -> list[list[Sample]]:
    """Pieces of the same time, as far as there is something in them."""
    begun, span = samples[0].due_s, _span(samples)
    blocks: list[list[Sample]] = [[] for _ in range(BLOCKS)]
    for sample in samples:
        place = int((sample.due_s - begun) / span * BLOCKS)
        blocks[min(place, BLOCKS - 1)].append(sample)
    return [block for block in blocks if block]


def _rate(piece: Sequence[Sample]) -> float:
    """Calls that ended well, per second."""
    good = sum(sample.error is None for sample in piece)
    return good / _span(piece)


def _span(samples: Sequence[Sample]) -> float:
    """Seconds from the first call's leaving to the last answer."""
    begun = min(sample.due_s for sample in samples)
    ended = max(sample.due_s + sample.latency_ms / 1000 for sample in samples)
    return max(ended - begun, 1e-3)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _overhead(samples: Iterable[Sample]) -> float | None:
    """The platform's share: of a warm call's time, what was not its action's."""
    shares = [
        1 - min(1.0, sample.run_ms / sample.service_ms)
        for sample in samples
        if sample.run_ms is not None and sample.error is None and not sample.cold
        if sample.service_ms > 0
    ]
    return round(statistics.median(shares), 4) if shares else None


@dataclass(frozen=True)
class Second:
    """One second of a run: `p99_ms` is None when nothing left in it."""

    at_s: int
    requests: int
    failures: int
    p50_ms: float | None
    p99_ms: float | None


def timeline(samples: Sequence[Sample]) -> list[Second]:
    """Second by second, from the first call; by when calls were due."""
    if not samples:
        return []
    begun = min(sample.due_s for sample in samples)
    seconds: dict[int, list[Sample]] = {}
    for sample in samples:
        seconds.setdefault(int(sample.due_s - begun), []).append(sample)
    return [_second(at, seconds.get(at, [])) for at in range(max(seconds) + 1)]


def _second(at_s: int, samples: Sequence[Sample]) -> Second:
    times = sorted(sample.latency_ms for sample in samples)
    return Second(
        at_s,
        len(samples),
        sum(sample.error is not None for sample in samples),
        percentile(times, 0.5) if times else None,
        percentile(times, 0.99) if times else None,
    )
