"""The open loop: each call leaves when it is due, in a greenlet of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import gevent
from gevent.pool import Pool

#: More than that unanswered and the generator, not the host, would be measured.
IN_FLIGHT = 2000
OVERLOADED = (
    f"not sent: {IN_FLIGHT} calls of this user are unanswered; the rate is beyond "
    "what host or generator can do"
)


class OpenLoop:
    """One user's calls.

    Args:
        call: makes one; told when it was due, in seconds of `time.perf_counter`.
        refuse: told of a call that could not leave since too many are unanswered.
    """

    def __init__(
        self, call: Callable[[float], None], refuse: Callable[[float], None]
    ) -> None:
        self._call = call
        self._refuse = refuse
        self._pool = Pool(IN_FLIGHT)

    def run(self, due_times: Iterable[float]) -> None:
        """Until it is killed, which kills what is unanswered as well."""
        begun = time.perf_counter()
        try:
            for due in due_times:
                # Zero as well: whoever is late must let the others run.
                gevent.sleep(max(0.0, begun + due - time.perf_counter()))
                self._shoot(begun + due)
        finally:
            self._pool.kill()

    def _shoot(self, due: float) -> None:
        if self._pool.full():
            self._refuse(due)
        else:
            self._pool.spawn(self._call, due)
