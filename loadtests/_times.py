"""What the host says of a call: how long it waited, was made ready and ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ServerTimes:
    """In ms. `init_ms` is None when the sandbox was warm, which is how it is known."""

    wait_ms: float | None = None
    init_ms: float | None = None
    run_ms: float | None = None

    @property
    def cold(self) -> bool:
        return self.init_ms is not None


UNKNOWN = ServerTimes()


@dataclass(frozen=True)
class Record:
    """An activation record: its result and the host's times."""

    result: Any
    times: ServerTimes
    success: bool


def read_record(content: bytes) -> Record | None:
    """None for what is no activation record.

    `duration` has the time of the init in it, so the run is what is left of it.
    """
    try:
        record = json.loads(content)
        response = record["response"]
        known = {each["key"]: each.get("value") for each in record["annotations"]}
    except (ValueError, LookupError, TypeError):
        return None
    init = known.get("initTime")
    times = ServerTimes(
        wait_ms=known.get("waitTime"),
        init_ms=init,
        run_ms=max(0, record.get("duration", 0) - (init or 0)),
    )
    return Record(response.get("result"), times, bool(response.get("success")))
