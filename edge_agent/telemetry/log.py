"""Logging of the agent: to stderr (journald), one line for each activation's end.

A line is text for people, or one JSON object (`logging.format`); what concerns one
activation has its id: `log.warning(..., extra=of(activation_id))`. In JSON the fields
are `time`, `level`, `logger`, `message`, `activation` and, after a fault, `traceback`;
the end of an activation has its figures besides.

The lines of activations are gathered for `FLUSH_S` and written as one: at thousands of
activations a second a write per line costs more than the runs' bookkeeping.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from typing import Literal

import msgspec

from edge_agent.model.jobs import Finished, Job

FLUSH_S = 0.1
FLUSH_LINES = 512
CONSOLE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: Name of what `of` adds to a line.
ACTIVATION = "activation"

Form = Literal["console", "json"]

_encode_line = msgspec.json.Encoder(enc_hook=str).encode


def of(activation_id: str) -> Mapping[str, str]:
    """The `extra` of a line that concerns an activation."""
    return {ACTIVATION: activation_id}


def set_up_logging(level: str, form: Form = "console") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else ConsoleLines(CONSOLE))
    logging.basicConfig(level=level, handlers=[handler])


#: Of the end of an activation; no part of its job is kept. Activation id, namespace and
#: name of the action, kind, start, ms of wait, init and run, status.
Ending = tuple[str, str, str, str, str, int, int | None, int, str]


class EndingLine(msgspec.Struct, omit_defaults=True):
    """The same as a line of JSON."""

    time: str
    level: str
    logger: str
    activation: str
    action: str
    kind: str
    start: str
    wait_ms: int
    run_ms: int
    status: str
    message: Literal["ended"]
    init_ms: int | None = None


class Endings(tuple[Ending, ...]):
    """Several of them, as the argument of one log record."""

    __slots__ = ()

    def texts(self, start: str = "") -> list[str]:
        return [
            f"{start}{activation} action={namespace}/{name} kind={kind} start={how} "
            f"wait_ms={wait}{'' if init is None else f' init_ms={init}'} "
            f"run_ms={run} status={status!r}"
            for activation, namespace, name, kind, how, wait, init, run, status in self
        ]

    def lines(self, time: str, level: str, logger: str) -> list[bytes]:
        return [
            _encode_line(
                EndingLine(
                    time,
                    level,
                    logger,
                    activation,
                    f"{namespace}/{name}",
                    kind,
                    how,
                    wait,
                    run,
                    status,
                    "ended",
                    init,
                )
            )
            for activation, namespace, name, kind, how, wait, init, run, status in self
        ]

    def __str__(self) -> str:
        return "\n".join(self.texts())


class ConsoleLines(logging.Formatter):
    """Text; each ending is a line of its own, with its own beginning."""

    def format(self, record: logging.LogRecord) -> str:
        endings = _endings(record)
        if endings is None:
            text = super().format(record)
            found = getattr(record, ACTIVATION, None)
            first, newline, rest = text.partition("\n")
            return f"{first} [{found}]{newline}{rest}" if found else text
        record.message = ""
        record.asctime = self.formatTime(record, self.datefmt)
        return "\n".join(endings.texts(f"{self.formatMessage(record)}ended: "))


class JsonLines(logging.Formatter):
    """JSON: an object a line."""

    def format(self, record: logging.LogRecord) -> str:
        endings = _endings(record)
        time, level, logger = _time(record.created), record.levelname, record.name
        if endings is not None:
            return b"\n".join(endings.lines(time, level, logger)).decode()
        line = {"time": time, "level": level, "logger": logger}
        line["message"] = record.getMessage()
        if found := getattr(record, ACTIVATION, None):
            line[ACTIVATION] = found
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode_line(line).decode()


def _endings(record: logging.LogRecord) -> Endings | None:
    args = record.args
    found = args[0] if isinstance(args, tuple) and args else None
    return found if isinstance(found, Endings) else None


def _time(epoch_s: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    whole = int(epoch_s)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{moment}.{int((epoch_s - whole) * 1000):03}Z"


class ActivationLog:
    """Writes activation lines through the logger `edge_agent.activations`."""

    def __init__(self) -> None:
        self._log = logging.getLogger("edge_agent.activations")
        self._endings: list[Ending] = []
        self._timer: asyncio.TimerHandle | None = None
        self._enabled = self._log.isEnabledFor(logging.INFO)

    def ended(self, job: Job, finished: Finished) -> None:
        if not self._enabled:
            return
        action = job.action
        self._endings.append(
            (
                job.activation_id,
                action.namespace,
                action.name,
                action.exec.kind,
                finished.start,
                finished.wait_ms,
                finished.init_ms,
                finished.run_ms,
                finished.response.status,
            )
        )
        if len(self._endings) >= FLUSH_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._endings:
            endings = Endings(self._endings)
            self._endings.clear()
            self._log.info("ended: %s", endings)
