"""Logging of the agent: to stderr (journald), one line for each activation's end.

The lines of activations are gathered for `FLUSH_S` and written as one: at thousands of
activations a second a write per line costs more than the runs' bookkeeping.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from edge_agent.model.jobs import Finished, Job

FLUSH_S = 0.1
FLUSH_LINES = 512
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(level: str) -> None:
    logging.basicConfig(level=level, format=FORMAT, stream=sys.stderr)


class ActivationLog:
    """Writes activation lines through the logger `edge_agent.activations`."""

    def __init__(self) -> None:
        self._log = logging.getLogger("edge_agent.activations")
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._enabled = self._log.isEnabledFor(logging.INFO)

    def ended(self, job: Job, finished: Finished) -> None:
        if not self._enabled:
            return
        action = job.action
        init = f" init_ms={finished.init_ms}" if finished.init_ms is not None else ""
        self._lines.append(
            f"{job.activation_id} action={action.namespace}/{action.name} "
            f"kind={action.exec.kind} start={finished.start} "
            f"wait_ms={finished.wait_ms}{init} run_ms={finished.run_ms} "
            f"status={finished.response.status!r}"
        )
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            self._log.info("ended: %s", "\n".join(self._lines))
            self._lines.clear()
