"""From a job file to a `Job`.

job = load_job(Path("pi.py"), settings={"points": "1e9"})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controller.mapreduce import javascript_job, python_job
from controller.mapreduce.errors import JobError
from controller.mapreduce.job import Job


def load_job(path: Path, *, settings: Mapping[str, str]) -> Job:
    """Load and check a job file; `settings` are those of `--set`.

    Raises:
        JobError: it cannot be run; the text says where and why.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        raise JobError(path, "it is a folder; name a job file, .py or .js")
    if not path.is_file():
        raise JobError(path, "there is no such file")
    match path.suffix:
        case ".py":
            return python_job.load(path, settings)
        case ".js" | ".cjs":
            return javascript_job.load(path, settings)
        case _:
            raise JobError(path, "a job is a .py or a .js file")
