"""A job: what is mapped, over which units, with which arguments, and how it is reduced.

A job file is Python (`config`, `args_for_action`, `action`, `reduce`) or JavaScript
(`configs`, `argsForAction`, `action`, `reduce`); `job_file.load_job` makes a `Job` of
it, and a program makes one of its functions (`functions`). The runner sees neither: it
sees a `Job`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

#: The action of a job that has but one.
ONLY = ""


@dataclass(frozen=True, slots=True)
class MapAction:
    """What is put on every node. `limits` as on the wire: ms, MB, MB.

    `binary`: the code is an archive, as base64.
    """

    kind: str
    code: str
    main: str
    limits: Mapping[str, int] = field(default_factory=dict)
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """Run this action of the job with `arguments`, the JSON text of an object."""

    action: str
    arguments: bytes


@dataclass(frozen=True, slots=True)
class Reduced:
    """What reduce gave back, and what it printed meanwhile.

    A reduce that only prints has its text as its value.
    """

    value: Any
    printed: str = ""


class Job(Protocol):
    """One loaded job."""

    @property
    def path(self) -> Path: ...

    @property
    def name(self) -> str:
        """A legal action name."""
        ...

    @property
    def units(self) -> int:
        """What is mapped: the chunks that the job names, or its inputs."""
        ...

    @property
    def grouped(self) -> bool:
        """Whether one invocation may take several units."""
        ...

    @property
    def by_inputs(self) -> bool:
        """Whether the units are inputs, and what is invoked with some is a chunk."""
        ...

    @property
    def items(self) -> str | None:
        """The field of a result that counts its items; None: a unit is one item."""
        ...

    @property
    def retry_errors(self) -> int:
        """How often a chunk whose action failed is tried again."""
        ...

    @property
    def actions(self) -> Mapping[str, MapAction]:
        """By the names that the job has for them."""
        ...

    @property
    def digest(self) -> str:
        """Of what a resumed run must have the same of: settings and inputs."""
        ...

    def invocation(self, first: int, count: int) -> Invocation | None:
        """Of `count` units from `first` on: the same each time; None: not wanted.

        Raises:
            JobError: the user's function failed or gave no JSON object.
        """
        ...

    def fits(self, first: int, count: int) -> int:
        """How many of the units go in one invocation; at least one."""
        ...

    def reduce(self, results: Sequence[Any]) -> Reduced:
        """`results` in the order of the chunks.

        Raises:
            ReduceFailed: the user's function failed or gave no JSON.
        """
        ...
