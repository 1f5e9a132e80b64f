"""What a job's config may say, checked before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from controller.mapreduce.errors import JobError

#: Above this a job's results, and the list of its arguments, outgrow a laptop.
MOST_CHUNKS = 1_000_000
LIMITS = ("timeout", "memory", "logs")
MOST_RETRIES = 100


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


def checked_retries(path: Path, key: str, value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= MOST_RETRIES:
        raise JobError(path, f"'{key}' is from 0 to {MOST_RETRIES}, not {value!r}")
    return int(value)


def checked_requirements(path: Path, value: Any) -> tuple[str, ...]:
    """Names of packages, or the file (beside the job) that lists them."""
    if isinstance(value, str):
        try:
            value = (path.parent / value).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = f"'requirements' cannot be read: {error}"
            raise JobError(path, reason) from error
    if not isinstance(value, list | tuple) or not all(
        isinstance(each, str) for each in value
    ):
        raise JobError(path, "'requirements' is a list of packages, or a file of them")
    return tuple(each for each in map(str.strip, value) if each and each[0] != "#")


def digest_of(changed: Mapping[str, Any], units: int, inputs: str) -> str:
    """Of what makes the units of a run what they are."""
    told = msgspec.json.encode([dict(changed), units, inputs], order="deterministic")
    return hashlib.sha256(told).hexdigest()[:16]
