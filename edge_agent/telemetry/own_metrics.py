"""Figures that actions publish themselves, under the action's name.

A line of their standard output is one measurement:

    ::metric NAME VALUE [counter|gauge|histogram] [KEY=VALUE ...]

`::metric temperature_celsius 21.5 gauge room=attic` becomes the series
`edgewhisk_action_temperature_celsius{namespace,action,room="attic"}`. A gauge is what
it was set to last, a counter (`_total` is added) is added to, a histogram has the
buckets of OpenWhisk's times. Everything is bounded: lines that are looked at, names,
labels and series; what is wrong or too many is counted and leaves no other trace.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from edge_agent.telemetry.exposition import Family, Histogram, joined, labels

PREFIX = "edgewhisk_action_"
REFUSED = "edgewhisk_action_metrics_refused_total"
KINDS = ("counter", "gauge", "histogram")
#: Of one activation's log: so many lines are looked at.
LINES_MOST = 1000
#: Series of the node, and those of them that one action may have.
SERIES_MOST, SERIES_OF_ACTION_MOST = 2000, 100
LABELS_MOST = 5
VALUE_CHARACTERS = 100

#: What a histogram is written as.
_PARTS = ("_bucket", "_sum", "_count")
#: A line of a log: a stamp of thirty columns, a space, the stream (C23).
_MARK = "stdout: ::metric "
_MARK_AT = 31
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
#: Labels that are ours, or Prometheus'.
_RESERVED = frozenset(
    ("namespace", "action", "region", "stack", "le", "quantile", "job", "instance")
)


class Measurement:
    """One line, read; ValueError says what is wrong with it."""

    def __init__(self, text: str) -> None:
        name, value, *rest = text.split()
        kind = rest.pop(0) if rest and rest[0] in KINDS else "gauge"
        pairs = dict(_label(word) for word in rest)
        if not _NAME.fullmatch(name) or len(pairs) > LABELS_MOST:
            raise ValueError(name)
        self.kind = kind
        self.value = float(value)
        if not math.isfinite(self.value) or (kind == "counter" and self.value < 0):
            raise ValueError(value)
        total = "_total" if kind == "counter" and not name.endswith("_total") else ""
        self.name = f"{name}{total}"
        self.labels = labels(**dict(sorted(pairs.items())))


class OwnMetrics:
    """Owns the series of all actions."""

    def __init__(self) -> None:
        #: name -> kind, and (action's labels, own labels) -> what it has come to.
        self._kinds: dict[str, str] = {}
        self._series: dict[str, dict[tuple[str, str], float | Histogram]] = {}
        self._count = 0
        self._of_action: dict[str, int] = {}
        self.refused = 0

    def read(self, action: str, lines: Sequence[str]) -> None:
        """Take what the log of an activation has; `action` is its labels as text."""
        for line in lines[:LINES_MOST]:
            if line.startswith(_MARK, _MARK_AT):
                self._take(action, line[_MARK_AT + len(_MARK) :])

    def families(self) -> Iterator[Family]:
        for name, series in self._series.items():
            samples = [(joined(*where), value) for where, value in series.items()]
            text = "Published by actions."
            yield Family(PREFIX + name, self._kinds[name], text, samples)
        text = "Measurements of actions that were wrong or too many."
        yield Family(REFUSED, "counter", text, [("", float(self.refused))])

    def _take(self, action: str, text: str) -> None:
        try:
            self._add(action, Measurement(text))
        except (ValueError, OverflowError):
            self.refused += 1

    def _add(self, action: str, one: Measurement) -> None:
        if self._kinds.get(one.name, one.kind) != one.kind:
            raise ValueError(one.kind)
        where = (action, one.labels)
        series = self._series.get(one.name, {})
        if where not in series:
            self._check_name(one)
            self._check_room(action)
            self._kinds[one.name] = one.kind
            series = self._series.setdefault(one.name, series)
            series[where] = Histogram() if one.kind == "histogram" else 0.0
        before = series[where]
        if isinstance(before, Histogram):
            before.add(one.value)
        else:
            series[where] = one.value + (before if one.kind == "counter" else 0)

    def _check_name(self, one: Measurement) -> None:
        """No two series may be written under one name."""
        if one.name in self._kinds:
            return
        for part in _PARTS:
            whole = one.name.removesuffix(part)
            if whole != one.name and self._kinds.get(whole) == "histogram":
                raise ValueError(one.name)
            if one.kind == "histogram" and one.name + part in self._kinds:
                raise ValueError(one.name)
        if PREFIX + one.name == REFUSED:
            raise ValueError(one.name)

    def _check_room(self, action: str) -> None:
        count = self._of_action.get(action, 0)
        if self._count >= SERIES_MOST or count >= SERIES_OF_ACTION_MOST:
            raise ValueError(action)
        self._count += 1
        self._of_action[action] = count + 1


def _label(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    wrong = not equals or not _NAME.fullmatch(key) or key.startswith("__")
    if wrong or key in _RESERVED or len(value) > VALUE_CHARACTERS:
        raise ValueError(word)
    return key, value
