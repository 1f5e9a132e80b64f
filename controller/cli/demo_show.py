"""What a person sees of the demo: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from controller.cli.mapreduce_progress import Display, scaled
from controller.cli.output import Output, on_terminal, talk

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from controller.demo_replay import OnSeen, Seen
    from controller.demo_report import DemoReport, ReplayReport
    from controller.mapreduce.progress import OnProgress

STEPS = 4
#: Between two plain lines.
LINE_EVERY_S = 2.0
_BOLD = "\x1b[1m"


class DemoShow:
    """The `Show` of `controller.demo`; leave it and nothing is drawn any more."""

    def __init__(self, out: Output, *, steps: int = STEPS) -> None:
        self._out = out
        self._steps = steps
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.quiet()

    def step(self, number: int, title: str) -> None:
        if number > 1 and on_terminal(sys.stderr):
            talk("", "")
        talk(f"{number}/{self._steps}  {title}", "", colour=_BOLD)

    def say(self, text: str) -> None:
        self._out.say(text)

    def ok(self, text: str) -> None:
        self._out.ok(text)

    def replaying(self, title: str) -> OnSeen:
        if not on_terminal(sys.stderr):
            return _Lines(title)
        return _Bar(self._stack.enter_context(_bar()), title)

    def computing(self, unit: str | None) -> OnProgress:
        return self._stack.enter_context(Display(unit)).show

    def quiet(self) -> None:
        self._stack.close()


class _Lines:
    """A line with the newest result now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next = 0.0

    def __call__(self, seen: Seen) -> None:
        now = time.monotonic()
        if seen.latest is None or (now < self._next and seen.results < seen.total):
            return
        self._next = now + LINE_EVERY_S
        count = f"{self._title}: {seen.results:,} of {seen.total:,}"
        talk("", f"{count}, newest {json.dumps(seen.latest)}")


class _Bar:
    """The newest result above, the count below."""

    def __init__(self, bar: Bar, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None, newest="")

    def __call__(self, seen: Seen) -> None:
        self._bar.update(
            self._task,
            total=seen.total,
            completed=seen.results,
            newest=_newest(seen.latest),
        )


def _newest(latest: dict[str, Any] | None) -> str:
    if latest is None:
        return ""
    shown = {key: value for key, value in latest.items() if key != "seq"}
    return "  ".join(f"{key} {value}" for key, value in shown.items())


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(
            "{task.fields[newest]}",
            markup=False,
            style="dim",
            table_column=Column(no_wrap=True, overflow="ellipsis"),
        ),
        console=Console(stderr=True),
        transient=True,
    )


_REPLAYED = ("messages", "activations", "results", "p50", "p99", "lost", "duplicates")


def closing(out: Output, report: DemoReport) -> None:
    """The two tables at the end; sentences where they would be drawn for nobody."""
    replayed = [_replayed(replay) for replay in report.replays]
    pi = [
        (node.name, str(node.chunks), scaled(node.items_per_s))
        for node in report.pi.nodes
    ]
    if on_terminal(sys.stdout):
        out.table(("topic", *_REPLAYED, "by node"), replayed, document=None)
        out.table(("node", "chunks", "points/s"), pi, document=None)
    else:
        for topic, *cells, by_node in replayed:
            told = ", ".join(map(" ".join, zip(_REPLAYED, cells, strict=True)))
            out.text(f"{topic}: {told} ({by_node})")
        for name, chunks, rate in pi:
            out.text(f"{name}: {chunks} chunks, {rate} points/s")
    out.text(report.pi_sentence)


def _replayed(replay: ReplayReport) -> tuple[str, ...]:
    measured = replay.measured
    return (
        replay.topic,
        f"{measured.sent:,}",
        f"{replay.activations:,}",
        f"{measured.results:,}",
        f"{measured.percentile_ms(50):.1f} ms",
        f"{measured.percentile_ms(99):.1f} ms",
        str(len(measured.lost)),
        str(measured.duplicates),
        ", ".join(f"{name} {count:,}" for name, count in replay.by_node.items()),
    )
