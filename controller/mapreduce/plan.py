"""A run before it is made: its name, its folder, and what is written down of it first.

Runs are folders below `runs/` of the user's data; one that was given a folder of its
own (`--out`) has a link there, so that it is found by its name too.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from controller.fleet.local_state import data_home
from controller.mapreduce.errors import RunUnknown
from controller.mapreduce.job import ONLY, Job
from controller.mapreduce.journal import RUN


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`. `units`: what is mapped; `passing`: the folder goes in the end."""

    run: str
    job: str
    settings: dict[str, str]
    units: int
    digest: str
    actions: list[str]
    started_ms: int
    passing: bool
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is about to be made, or to be gone on with."""

    id: str
    job: Job
    folder: Path
    #: Whether the results go when the run has succeeded.
    passing: bool
    settings: Mapping[str, str]
    resumed: bool = False
    started_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def action_name(self) -> str:
        """Legal whatever the job is called, and nobody else's."""
        name = re.sub(r"[^\w.-]", "-", self.job.name, flags=re.ASCII)
        return f"{name}-{self.id}"

    def actions(self) -> list[str]:
        """As the nodes know them."""
        own = self.action_name
        return [own if each == ONLY else f"{own}-{each}" for each in self.job.actions]

    def header(self) -> Header:
        return Header(
            run=self.id,
            job=str(self.job.path),
            settings=dict(self.settings),
            units=self.job.units,
            digest=self.job.digest,
            actions=self.actions(),
            started_ms=self.started_ms,
            passing=self.passing,
        )


def runs_home() -> Path:
    return data_home(os.environ, Path.home()) / "runs"


def plan(
    job: Job, *, settings: Mapping[str, str], out: Path | None, listed: bool = False
) -> Run:
    """A new run. `listed`: it is found by its name although it has its own folder."""
    run_id = secrets.token_hex(4)
    home = runs_home()
    folder = home / run_id if out is None else out.expanduser().absolute()
    if listed and out is not None:
        with suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            (home / run_id).symlink_to(folder)
    return Run(run_id, job, folder, passing=out is None, settings=settings)


def plan_again(job: Job, folder: Path, header: Header) -> Run:
    """The run in the folder, gone on with.

    Raises:
        RunUnknown: what the job maps is not what it was.
    """
    if (job.units, job.digest) != (header.units, header.digest):
        text = f"{folder}: the inputs or chunks of {job.path} are not what they were"
        raise RunUnknown(text)
    return Run(
        header.run,
        job,
        folder,
        passing=header.passing,
        settings=header.settings,
        resumed=True,
        started_ms=header.started_ms,
    )


def read_header(folder: Path) -> Header:
    """What was written down of the run in the folder.

    Raises:
        RunUnknown: there is none, or it cannot be read.
    """
    try:
        return msgspec.json.decode((folder / RUN).read_bytes(), type=Header)
    except FileNotFoundError:
        raise RunUnknown(f"{folder}: there is no run") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise RunUnknown(f"{folder}: cannot be read: {error}") from error
