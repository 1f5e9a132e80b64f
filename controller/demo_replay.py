"""Replay recorded readings through a broker and measure what comes back.

Each reading is one QoS 1 message with a sequence number `seq`; its result carries the
same number. What was sent and never came back is lost, what came back twice is a
duplicate, and the latency is from publish to result, both by the clock of this process.
At most `window` readings are on their way at any time, so that the latency tells of the
fleet and not of a queue we made.

paho's own threads do the talking, because the caller has a progress bar to draw.
"""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.demo_answers import Answers, connected

WINDOW = 32
#: Without any result for so long the rest is taken for lost.
STALL_S = 20.0
#: For duplicates, after the last result has come.
GRACE_S = 0.3
TICK_S = 0.1

Reading = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """`latencies_ms` in ascending order; `lost` are sequence numbers."""

    sent: int
    results: int
    duplicates: int
    lost: tuple[int, ...]
    latencies_ms: tuple[float, ...]
    seconds: float

    @property
    def rate_per_s(self) -> float:
        return self.results / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float) -> float:
        return percentile(self.latencies_ms, percent)


@dataclass(frozen=True, slots=True)
class Seen:
    """A moment of the replay; `latest` is the newest result."""

    sent: int
    results: int
    total: int
    latest: dict[str, Any] | None


OnSeen = Callable[[Seen], None]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest rank of ascending values; NaN of none."""
    if not ordered:
        return float("nan")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def read_readings(path: Path) -> Iterator[Reading]:
    """The rows of a CSV file, numbers as numbers, numbered from 1 in `seq`."""
    with path.open(newline="") as file:
        for seq, row in enumerate(csv.DictReader(file), 1):
            yield {"seq": seq, **{key: _value(text) for key, text in row.items()}}


def _value(text: str) -> float | str | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(slots=True)
class _Ledger:
    """What was sent and what came back; paho's thread writes, ours reads."""

    window: threading.Semaphore
    sent_at: dict[int, float] = field(default_factory=dict)
    latency_ms: dict[int, float] = field(default_factory=dict)
    duplicates: int = 0
    latest: dict[str, Any] | None = None
    last_at: float = field(default_factory=time.monotonic)

    def came(self, body: bytes) -> None:
        now = time.monotonic()
        try:
            result = json.loads(body)
            seq = int(result["seq"])
        except (ValueError, KeyError, TypeError):
            return  # not an answer to one of ours
        if seq not in self.sent_at:
            return
        if seq in self.latency_ms:
            self.duplicates += 1
            return
        self.latency_ms[seq] = (now - self.sent_at[seq]) * 1000
        self.latest, self.last_at = result, now
        self.window.release()

    @property
    def stalled(self) -> bool:
        return time.monotonic() - self.last_at > STALL_S


def replay(
    readings: Sequence[Reading],
    *,
    host: str,
    port: int,
    topic: str,
    answers: Answers,
    window: int = WINDOW,
    on_seen: OnSeen | None = None,
) -> Measured:
    """Publish `readings` to `topic` and wait for as many answers.

    Raises:
        ReplayError: the broker or a node cannot be used.
    """
    ledger = _Ledger(threading.Semaphore(window))
    tell = _Ticker(ledger, len(readings), on_seen)
    with answers(ledger.came), connected(host, port) as publisher:
        started = ledger.last_at = time.monotonic()
        for reading in _paced(readings, ledger, tell):
            ledger.sent_at[reading["seq"]] = time.monotonic()
            publisher.publish(topic, json.dumps(reading), qos=1)
        while len(ledger.latency_ms) < len(ledger.sent_at) and not ledger.stalled:
            time.sleep(TICK_S / 10)
            tell()
        seconds = ledger.last_at - started
        time.sleep(GRACE_S)
    tell(last=True)
    return _measured(ledger, seconds)


def _paced(
    readings: Iterable[Reading], ledger: _Ledger, tell: _Ticker
) -> Iterator[Reading]:
    """The readings, each as soon as the window has room for it."""
    for reading in readings:
        while not ledger.window.acquire(timeout=TICK_S):
            tell()
            if ledger.stalled:
                return
        tell()
        yield reading


def _measured(ledger: _Ledger, seconds: float) -> Measured:
    lost = sorted(ledger.sent_at.keys() - ledger.latency_ms.keys())
    return Measured(
        sent=len(ledger.sent_at),
        results=len(ledger.latency_ms),
        duplicates=ledger.duplicates,
        lost=tuple(lost),
        latencies_ms=tuple(sorted(ledger.latency_ms.values())),
        seconds=seconds,
    )


class _Ticker:
    """Tells `on_seen` now and then, not at every message."""

    def __init__(self, ledger: _Ledger, total: int, on_seen: OnSeen | None) -> None:
        self._ledger = ledger
        self._total = total
        self._on_seen = on_seen
        self._next = 0.0

    def __call__(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if self._on_seen is None or (now < self._next and not last):
            return
        self._next = now + TICK_S
        ledger = self._ledger
        sent, results = len(ledger.sent_at), len(ledger.latency_ms)
        self._on_seen(Seen(sent, results, self._total, ledger.latest))
