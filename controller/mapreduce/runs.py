"""The runs of a user: those that go on, those that were left, those that are done."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from controller.mapreduce.errors import RunBusy, RunUnknown
from controller.mapreduce.journal import (
    DETAILS,
    REPORT,
    RESULTS,
    RUN,
    entry_lines,
    holder_of,
)
from controller.mapreduce.plan import Header, read_header, runs_home
from controller.mapreduce.progress import NodeReport, Report

#: For a run to take its actions off its nodes.
STOP_S = 20.0
#: Of passing runs that are done, so many reports are kept.
KEPT = 50


class State(StrEnum):
    RUNNING = "running"
    #: It was interrupted, failed or crashed: `resume` goes on with it.
    STOPPED = "stopped"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Found:
    """A run on disk. `completed` of `header.units` have counted."""

    header: Header
    folder: Path
    state: State
    completed: int

    def document(self) -> dict[str, Any]:
        return {
            "run": self.header.run,
            "job": self.header.job,
            "state": self.state,
            "chunks": self.header.units,
            "completed": self.completed,
            "settings": self.header.settings,
            "started_ms": self.header.started_ms,
            "folder": str(self.folder),
        }


def list_runs(home: Path | None = None) -> list[Found]:
    """Newest first; what is no run, or is gone, is left out."""
    found = []
    for place in _places(home or runs_home()):
        with suppress(RunUnknown):
            found.append(_found(place))
    return sorted(found, key=lambda each: each.header.started_ms, reverse=True)


def find_run(name: str, home: Path | None = None) -> Found:
    """By its name, the beginning of that, or its folder.

    Raises:
        RunUnknown: there is none, or more than one.
    """
    if "/" in name or Path(name, RUN).is_file():
        return _found(Path(name).expanduser().absolute())
    places = [p for p in _places(home or runs_home()) if p.name.startswith(name)]
    if len(places) != 1 or not name:
        what = "no run" if not places else "more than one run"
        raise RunUnknown(f"there is {what} {name!r}; see: edgectl mapreduce list")
    return _found(places[0])


def reports_of(found: Found) -> dict[str, Any]:
    """What a run that is done has said of itself."""
    documents: dict[str, Any] = {}
    for name in (REPORT, DETAILS):
        with suppress(OSError, msgspec.MsgspecError):
            documents[name] = msgspec.json.decode((found.folder / name).read_bytes())
    return documents


def report_of(found: Found) -> Report:
    """As it was when the run was done, without the result.

    Raises:
        RunUnknown: it is not done.
    """
    documents = reports_of(found)
    if documents.keys() != {REPORT, DETAILS}:
        raise RunUnknown(f"run {found.header.run} is {found.state}: it has no report")
    report, details = documents[REPORT], documents[DETAILS]
    nodes = tuple(
        NodeReport(
            name=node["name"],
            chunks=node["chunks"],
            busy_s=node["busy_s"],
            items_per_s=node["items_per_s"],
            failures=node["failures"],
            slots=more["slots"],
            items=more["items"],
            cpu=tuple((at, share) for at, share in more["cpu"]),
        )
        for node, more in zip(report["nodes"], details["nodes"], strict=True)
    )
    return Report(
        run=report["run"],
        result=None,
        seconds=report["seconds"],
        chunks=report["chunks"],
        retries=report["retries"],
        backups=report["backups"],
        nodes=nodes,
        map_s=details["map_s"],
    )


def stop(found: Found) -> None:
    """Interrupt the process that works on the run, and wait for its end.

    Raises:
        RunBusy: it does not end.
    """
    until = time.monotonic() + STOP_S
    process = holder_of(found.folder)
    if process is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGTERM)
    while holder_of(found.folder) is not None:
        if time.monotonic() > until:
            raise RunBusy(found.folder)
        time.sleep(0.05)


def forget(found: Found) -> None:
    """A passing run goes with all it has; another one is marked."""
    if found.header.passing:
        shutil.rmtree(found.folder, ignore_errors=True)
        return
    header = msgspec.structs.replace(found.header, cancelled=True)
    text = msgspec.json.format(msgspec.json.encode(header), indent=2)
    (found.folder / RUN).write_bytes(text + b"\n")


def prune(home: Path | None = None) -> None:
    """Let the oldest reports of passing runs go."""
    done = [
        found
        for found in list_runs(home)
        if found.state is State.DONE and found.header.passing
    ]
    for found in done[KEPT:]:
        shutil.rmtree(found.folder, ignore_errors=True)


def _places(home: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(home.iterdir())


def _found(folder: Path) -> Found:
    folder = folder.resolve()
    header = read_header(folder)
    state = _state(folder, header)
    done = state is State.DONE
    return Found(header, folder, state, header.units if done else _completed(folder))


def _state(folder: Path, header: Header) -> State:
    if header.cancelled:
        return State.CANCELLED
    if (folder / REPORT).exists():
        return State.DONE
    return State.STOPPED if holder_of(folder) is None else State.RUNNING


def _completed(folder: Path) -> int:
    counted: dict[int, int] = {}
    with suppress(RunUnknown):
        for entry, _ in entry_lines(folder / RESULTS):
            counted[entry.chunk] = entry.count
    return sum(counted.values())
