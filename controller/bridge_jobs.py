"""Map-reduce runs that messages start.

A message on the topic of a `job:` entry starts a run of that job with the entry's
settings and, over them, the object in the message. It is acknowledged once the run's
first record, `request.json`, is on disk: a run that the bridge does not live to end is
gone on with by its next life. The report, or `{"run", "error"}`, is published to the
entry's `result`; the run's folder is removed when that is out.

Few runs go on at once; more messages wait at the broker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.bridge_map import RUN_FIELD, Entry, settings_text
from controller.fleet.target import Target
from controller.mapreduce.errors import RunUnknown
from controller.mapreduce.job_file import load_job
from controller.mapreduce.journal import REPORT
from controller.mapreduce.plan import Run, plan, plan_again, read_header
from controller.mapreduce.run import run_planned
from edge_agent.events.base import Event, Outgoing, Receipt
from edge_agent.model.errors import BuiltinError, EdgeWhiskError

RUNS_MOST = 2
#: A run that ended the bridge so often is not begun again.
BEGUN_MOST = 3
REQUEST = "request.json"
RUN = "run"

log = logging.getLogger(__name__)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The first record of a run; `begun` counts its beginnings."""

    run: str
    entry: str
    job: str
    settings: dict[str, str]
    result: str | None
    received_ms: int
    begun: int = 0


class _Told(msgspec.Struct, frozen=True):
    """What of a trigger's payload is used here."""

    payload: Any = None
    encoding: str = ""


_encode = msgspec.json.Encoder().encode
_requests = msgspec.json.Decoder(Request)
_told = msgspec.json.Decoder(_Told)

Publish = Callable[[Outgoing], Awaitable[None]]


class JobDesk:
    """Owns the runs. A `Sink` for the entries that have a job."""

    def __init__(
        self, folder: Path, targets: Sequence[Target], *, publish: Publish
    ) -> None:
        self._folder = folder
        self._targets = targets
        self._publish = publish
        self._group: asyncio.TaskGroup | None = None
        self._running = 0
        self.ended = 0
        self.failed = 0

    async def run(self) -> None:
        """Begin what an earlier life has not ended, and what comes, until cancelled."""
        left = await asyncio.to_thread(_left, self._folder)
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for request in left:
                    group.create_task(self._carry_out(request), name=request.run)
                    self._running += 1
                await asyncio.Event().wait()
            finally:
                self._group = None

    def take(self, event: Event, entry: Entry) -> asyncio.Future[Receipt]:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if self._group is None or self._running >= RUNS_MOST:
            receipt.set_result(Receipt.REFUSED)
            return receipt
        self._running += 1
        work = self._begin(event, entry, receipt)
        self._group.create_task(work, name=f"run for {event.origin}")
        return receipt

    def health(self) -> dict[str, Any]:
        return {"running": self._running, "ended": self.ended, "failed": self.failed}

    async def _begin(
        self, event: Event, entry: Entry, receipt: asyncio.Future[Receipt]
    ) -> None:
        request = _request(event, entry)
        try:
            await asyncio.to_thread(_keep, self._folder, request)
        except OSError as error:
            log.error("%s: no run: %s", event.origin, error)  # noqa: TRY400 a full disk
            self._running -= 1
            _answer(receipt, Receipt.REFUSED)
            return
        _answer(receipt, Receipt.KEPT)
        await self._carry_out(request)

    async def _carry_out(self, request: Request) -> None:
        try:
            report = await self._report(request)
            await self._tell(request, report)
        finally:
            self._running -= 1
        self.ended += 1
        folder = self._folder / request.run
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _report(self, request: Request) -> bytes:
        out = self._folder / request.run / RUN
        done = await asyncio.to_thread(_read, out / REPORT)
        if done is not None:
            return done
        if request.begun >= BEGUN_MOST:
            return self._failure(request, "was begun too often and never ended")
        again = msgspec.structs.replace(request, begun=request.begun + 1)
        await asyncio.to_thread(_keep, self._folder, again)
        path, settings = Path(request.job), request.settings
        log.info("run %s of %s begins", request.run, path.name)
        try:
            run = await asyncio.to_thread(_planned, path, settings, out)
            report = await run_planned(run, self._targets)
        except EdgeWhiskError as error:
            return self._failure(request, str(error))
        except Exception:  # an edge: one run's fault must not end the bridge
            log.exception("run %s failed", request.run)
            return self._failure(request, "a fault of the bridge's own, see its log")
        return _encode(report.as_json())

    def _failure(self, request: Request, problem: str) -> bytes:
        self.failed += 1
        log.error("run %s: %s", request.run, problem)
        return _encode({"run": request.run, "error": problem})

    async def _tell(self, request: Request, report: bytes) -> None:
        if request.result is None:
            return
        outgoing = Outgoing(
            id=request.run,
            namespace=request.entry.partition("/")[0],
            topic=request.result.replace(RUN_FIELD, request.run),
            payload=report,
            via=request.entry,
        )
        try:
            await self._publish(outgoing)
        except BuiltinError as error:
            text = "run %s: its result was not published: %s"
            log.error(text, request.run, error)  # noqa: TRY400 the broker's word


def _planned(path: Path, settings: dict[str, str], out: Path) -> Run:
    """What an earlier life has begun and left is gone on with."""
    job = load_job(path, settings=settings)
    try:
        return plan_again(job, out, read_header(out))
    except RunUnknown:
        return plan(job, settings=settings, out=out)


def _answer(receipt: asyncio.Future[Receipt], value: Receipt) -> None:
    if not receipt.done():
        receipt.set_result(value)


def _request(event: Event, entry: Entry) -> Request:
    """Settings that cannot be are told when the job is loaded."""
    assert entry.job is not None  # noqa: S101 only such entries come here
    told = _told.decode(event.payload)
    own = told.payload if isinstance(told.payload, dict) else {}
    try:
        settings = {**entry.job.settings, **settings_text(own)}
    except BuiltinError as error:
        settings = {**entry.job.settings, "?": str(error)}
    return Request(
        run=secrets.token_hex(4),
        entry=entry.id,
        job=str(entry.job.path),
        settings=settings,
        result=entry.job.result,
        received_ms=time.time_ns() // 1_000_000,
    )


def _keep(folder: Path, request: Request) -> None:
    """On disk when it returns, whole or not at all."""
    home = folder / request.run
    home.mkdir(parents=True, exist_ok=True)
    new = home / f"{REQUEST}.new"
    with new.open("wb") as file:
        file.write(_encode(request))
        file.flush()
        os.fsync(file.fileno())
    new.replace(home / REQUEST)
    for place in (home, folder):
        number = os.open(place, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _left(folder: Path) -> list[Request]:
    found = []
    for file in sorted(folder.glob(f"*/{REQUEST}")):
        try:
            found.append(_requests.decode(file.read_bytes()))
        except (OSError, msgspec.MsgspecError) as error:
            log.error("%s cannot be read: %s", file, error)  # noqa: TRY400 not ours
    return found


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
