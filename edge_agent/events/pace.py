"""How fast a subscription fires: throttle, debounce, batch. Pure: time is handed in.

    throttle  ms, or {ms, by}: at most one message in so many ms; the others are
              acknowledged, counted as `throttled` and left out
    debounce  ms, or {ms, by}: a message waits until none has come for so many ms; those
              that a newer one replaces are acknowledged, counted as `debounced` and
              left out
    batch     {size, ms}: up to `size` messages, or those of `ms`, fire the trigger once
              with `{"messages": [...]}`

`by` is `topic` (each topic by itself, the default) or `trigger` (all together). A
message that waits is not acknowledged: a crash sends it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from edge_agent.events.base import ConfigError

LONGEST_MS = 86_400_000
MOST_IN_BATCH = 10_000
#: A batch is closed before it is longer: a trigger takes a megabyte.
BATCH_BYTES = 768 << 10
#: Topics a throttle remembers; the one that was silent longest is forgotten.
TOPICS_MOST = 10_000

By = Literal["topic", "trigger"]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Interval:
    """`ms` for each topic, or for the whole trigger."""

    ms: int
    by: By = "topic"

    def key(self, topic: str) -> str:
        return topic if self.by == "topic" else ""

    def shown(self) -> Any:
        return self.ms if self.by == "topic" else {"ms": self.ms, "by": self.by}


@dataclass(frozen=True, slots=True)
class BatchOf:
    """Up to `size` messages, waiting at most `ms`."""

    size: int
    ms: int


@dataclass(frozen=True, slots=True)
class Pace:
    """One subscription's parameters."""

    throttle: Interval | None = None
    debounce: Interval | None = None
    batch: BatchOf | None = None

    def shown(self) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if self.throttle is not None:
            shown["throttle"] = self.throttle.shown()
        if self.debounce is not None:
            shown["debounce"] = self.debounce.shown()
        if self.batch is not None:
            shown["batch"] = {"size": self.batch.size, "ms": self.batch.ms}
        return shown


class Throttle:
    """Owns when each key was let through last."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        self._last_s: OrderedDict[str, float] = OrderedDict()

    def admits(self, topic: str, now_s: float) -> bool:
        key = self._interval.key(topic)
        last_s = self._last_s.get(key)
        if last_s is not None and now_s - last_s < self._interval.ms / 1000:
            return False
        self._last_s[key] = now_s
        self._last_s.move_to_end(key)
        if len(self._last_s) > TOPICS_MOST:
            self._last_s.popitem(last=False)
        return True


class Debounce(Generic[Item]):
    """Owns the newest item of each key until its time has come."""

    def __init__(self, interval: Interval) -> None:
        self._interval = interval
        #: In the order of their deadlines, because each is as far away as the others.
        self._waiting: OrderedDict[str, tuple[float, Item]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, item: Item, now_s: float) -> Item | None:
        """Take `item`; the one that it replaces."""
        key = self._interval.key(topic)
        before = self._waiting.pop(key, None)
        self._waiting[key] = now_s + self._interval.ms / 1000, item
        return before[1] if before is not None else None

    def due(self, now_s: float) -> list[Item]:
        found = []
        while self._waiting and (next_s := self.next_s) is not None and next_s <= now_s:
            found.append(self._waiting.popitem(last=False)[1][1])
        return found

    @property
    def next_s(self) -> float | None:
        """When something is due; None: never."""
        return next(iter(self._waiting.values()))[0] if self._waiting else None


class Batch(Generic[Item]):
    """Owns the items that wait for more."""

    def __init__(self, batch: BatchOf, *, most: int) -> None:
        """`most`: what the broker sends without a receipt; more would never come."""
        self._batch = batch
        self._size = min(batch.size, most)
        self._items: list[Item] = []
        self._bytes = 0
        self.next_s: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, size_bytes: int, now_s: float) -> list[list[Item]]:
        """Take `item`; the batches that are full now."""
        full = []
        if self._items and self._bytes + size_bytes > BATCH_BYTES:
            full.append(self.take())
        if not self._items:
            self.next_s = now_s + self._batch.ms / 1000
        self._items.append(item)
        self._bytes += size_bytes
        if len(self._items) >= self._size:
            full.append(self.take())
        return full

    def take(self) -> list[Item]:
        items, self._items = self._items, []
        self._bytes = 0
        self.next_s = None
        return items


def parse_pace(given: Mapping[str, Any]) -> Pace:
    """Read `throttle`, `debounce` and `batch`.

    Raises:
        ConfigError: naming the key.
    """
    return Pace(
        throttle=_interval(given.get("throttle"), key="throttle"),
        debounce=_interval(given.get("debounce"), key="debounce"),
        batch=_batch(given.get("batch")),
    )


def _interval(given: Any, *, key: str) -> Interval | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return Interval(_ms(given, key=key))
    if set(given) - {"ms", "by"}:
        raise ConfigError(key, f"expected milliseconds or {{ms, by}}, got {given!r}")
    by = given.get("by", "topic")
    if by not in ("topic", "trigger"):
        raise ConfigError(f"{key}.by", f"expected topic or trigger, got {by!r}")
    return Interval(_ms(given.get("ms"), key=f"{key}.ms"), by)


def _batch(given: Any) -> BatchOf | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) != {"size", "ms"}:
        raise ConfigError("batch", f"expected {{size, ms}}, got {given!r}")
    size = given["size"]
    if type(size) is not int or not 0 < size <= MOST_IN_BATCH:
        raise ConfigError("batch.size", f"expected 1 to {MOST_IN_BATCH}, got {size!r}")
    return BatchOf(size, _ms(given["ms"], key="batch.ms"))


def _ms(value: Any, *, key: str) -> int:
    if type(value) is not int or not 0 < value <= LONGEST_MS:
        problem = f"expected 1 to {LONGEST_MS} milliseconds, got {value!r}"
        raise ConfigError(key, problem)
    return value
