"""A job: what is mapped, how often, with which arguments, and how it is reduced.

    job = load_job(Path("pi.py"), settings={"points": "1e9"})

A job file is Python (`config`, `args_for_action`, `action`, `reduce`) or JavaScript
(`configs`, `argsForAction`, `action`, `reduce`). The runner sees neither: it
sees a `Job`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from msgspec import Raw

from controller.mapreduce.errors import JobError

#: Above this a job's results, and the list of its arguments, outgrow a laptop.
MOST_CHUNKS = 1_000_000
LIMITS = ("timeout", "memory", "logs")


@dataclass(frozen=True, slots=True)
class MapAction:
    """What is put on every node. `limits` as on the wire: ms, MB, MB."""

    kind: str
    code: str
    main: str
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reduced:
    """What reduce gave back, and what it printed meanwhile.

    A reduce that only prints has its text as its value.
    """

    value: Any
    printed: str = ""


class Job(Protocol):
    """One loaded job file."""

    @property
    def path(self) -> Path: ...

    @property
    def name(self) -> str:
        """A legal action name."""
        ...

    @property
    def chunks(self) -> int: ...

    @property
    def items(self) -> str | None:
        """The field of a result that counts its items; None: a chunk is one item."""
        ...

    @property
    def action(self) -> MapAction: ...

    def arguments(self, chunk: int) -> bytes:
        """JSON text of an object, the same each time.

        Raises:
            JobError: the user's function failed or gave no JSON object.
        """
        ...

    def reduce(self, results: Sequence[Raw]) -> Reduced:
        """`results` in the order of the chunks.

        Raises:
            ReduceFailed: the user's function failed or gave no JSON.
        """
        ...


def load_job(path: Path, *, settings: Mapping[str, str]) -> Job:
    """Load and check a job file; `settings` are those of `--set`.

    Raises:
        JobError: it cannot be run; the text says where and why.
    """
    from controller.mapreduce import javascript_job, python_job  # noqa: PLC0415 cycle

    path = path.expanduser().absolute()
    if not path.is_file():
        raise JobError(path, "there is no such file")
    match path.suffix:
        case ".py":
            return python_job.load(path, settings)
        case ".js" | ".cjs":
            return javascript_job.load(path, settings)
        case _:
            raise JobError(path, "a job is a .py or a .js file")


def checked_chunks(path: Path, key: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # JavaScript has no integers
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise JobError(path, f"'{key}' is a whole number, not {value!r}")
    if not 1 <= value <= MOST_CHUNKS:
        raise JobError(path, f"'{key}' is from 1 to {MOST_CHUNKS}, not {value}")
    return value


def checked_limits(path: Path, key: str, value: Any) -> dict[str, int]:
    """The form only: what is allowed is for the nodes to say."""
    if not isinstance(value, dict):
        raise JobError(path, f"'{key}' is a mapping of {', '.join(LIMITS)}")
    for name, limit in value.items():
        if name not in LIMITS:
            known = ", ".join(LIMITS)
            raise JobError(path, f"'{key}' has no limit '{name}', only {known}")
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise JobError(path, f"'{key}.{name}' is a whole number, not {limit!r}")
    return dict(value)


def checked_items(path: Path, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise JobError(path, f"'items' names a field of the results, not {value!r}")
