"""Every call of a run, as rows of a CSV file; see `COLUMNS`.

Locust keeps counts; whoever wants confidence intervals, times of the server or a curve
over time needs the calls themselves. Bounded: beyond `MOST` rows the rest is counted.
"""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any

from _times import UNKNOWN, ServerTimes
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

MOST = 2_000_000
COLUMNS = (
    "name",
    "due_s",  # seconds since 1970 at which it was to leave
    "late_ms",  # it left that much later; 0 in a closed loop
    "latency_ms",  # from when it was due to its answer
    "service_ms",  # from when it left to its answer
    "status",  # of HTTP, 0 without an answer
    "bytes",
    "wait_ms",  # the host's own times, empty where it says nothing
    "init_ms",
    "run_ms",
    "error",
)
Row = tuple[Any, ...]
_log = logging.getLogger(__name__)


class Samples:
    """The rows of this process; a master has those of its workers."""

    def __init__(self, environment: Environment, *, warm_up_s: float) -> None:
        self._environment = environment
        self._warm_up_s = warm_up_s
        self._rows: list[Row] = []
        self._counts_from = 0.0
        self.lost = 0
        events = environment.events
        events.test_start.add_listener(self.on_start)
        events.request.add_listener(self.on_request)
        if isinstance(environment.runner, WorkerRunner):
            events.report_to_master.add_listener(self.on_report)
        if isinstance(environment.runner, MasterRunner):
            events.worker_report.add_listener(self.on_worker_report)

    def on_start(self, **_: Any) -> None:
        self._counts_from = time.time() + self._warm_up_s

    def on_request(
        self,
        *,
        name: str,
        response_time: float,
        response_length: int,
        exception: BaseException | None,
        context: dict[str, Any],
        start_time: float | None = None,
        **_: Any,
    ) -> None:
        late_ms = context.get("late_ms", 0.0)
        now = time.time()
        due_s = (now - response_time / 1000) if start_time is None else start_time
        due_s -= late_ms / 1000
        if due_s < self._counts_from:
            return
        times: ServerTimes = context.get("times", UNKNOWN)
        row = (
            name,
            round(due_s, 5),
            round(late_ms, 3),
            round(response_time, 3),
            round(response_time - late_ms, 3),
            context.get("status", 0),
            response_length,
            times.wait_ms,
            times.init_ms,
            times.run_ms,
            None if exception is None else str(exception),
        )
        self._add([row])

    def on_report(self, data: dict[str, Any], **_: Any) -> None:
        data["samples"], self._rows = self._rows, []

    def on_worker_report(self, data: dict[str, Any], **_: Any) -> None:
        self._add(data.pop("samples", ()))

    def write(self, path: Path) -> None:
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(self._rows)
        if self.lost:
            _log.warning("%d calls beyond %d are not in %s", self.lost, MOST, path)

    def _add(self, rows: list[Row]) -> None:
        room = MOST - len(self._rows)
        self._rows += rows[:room]
        self.lost += max(0, len(rows) - room)
