"""What can go wrong with a job.

EdgeWhiskError
├── JobError     the job file or an option is wrong; nothing was run     exit code 2
├── RunUnknown   there is no such run, or it cannot go on                exit code 2
├── RunBusy      another process works on the run                        exit code 2
└── RunFailed    the work failed; the map results so far are kept        exit code 1
    └── ReduceFailed

Each text is one line, with file and line where there is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from edge_agent.model.errors import EdgeWhiskError


class JobError(EdgeWhiskError):
    exit_code: ClassVar[int] = 2

    def __init__(self, path: Path, reason: str, *, line: int | None = None) -> None:
        super().__init__(_located(path, line, reason))
        self.path = path
        self.line = line


class RunUnknown(EdgeWhiskError):
    exit_code: ClassVar[int] = 2


class RunBusy(EdgeWhiskError):
    exit_code: ClassVar[int] = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: another process works on this run")


class RunFailed(EdgeWhiskError):
    exit_code: ClassVar[int] = 1
    #: Where the map results so far are, for people.
    kept: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {self.kept}" if self.kept else text


class ReduceFailed(RunFailed):
    def __init__(self, path: Path, reason: str, *, line: int | None = None) -> None:
        super().__init__(_located(path, line, f"reduce failed: {reason}"))


def _located(path: Path, line: int | None, reason: str) -> str:
    place = str(path) if line is None else f"{path}:{line}"
    return f"{place}: {' '.join(reason.split())}"
