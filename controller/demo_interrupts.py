"""Ctrl-C and SIGTERM end the demo once, and in an orderly way.

An exception out of a signal's handler may strike while a lock is being taken, or in a
finalizer that swallows it. So how an interrupt arrives depends on what goes on:

    polled      noted; the next `check` raises (a replay has threads and locks)
    in `run`    the task is cancelled, and cleans up as any cancelled task does
    else        KeyboardInterrupt, from the handler

After the first one it is deaf: nobody's second Ctrl-C leaves half of it running.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

NUMBERS = (signal.SIGINT, signal.SIGTERM)
_Result = TypeVar("_Result")


class Interrupts:
    """Made by `interruptible_once`."""

    def __init__(self) -> None:
        self._came = False
        self._polled = False
        self._task: asyncio.Task[Any] | None = None

    def handle(self, *_: object) -> None:
        self._came = True
        self.shield()
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        elif not self._polled:
            raise KeyboardInterrupt

    def shield(self) -> None:
        """Be deaf from now on."""
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def check(self) -> None:
        if self._came:
            raise KeyboardInterrupt

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Whoever is in here calls `check` now and then."""
        self._polled = True
        try:
            yield
        finally:
            self._polled = False
        self.check()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """`asyncio.run`, interruptible."""

        async def main() -> _Result:
            self._task = asyncio.current_task()
            try:
                return await work
            finally:
                self._task = None

        try:
            return asyncio.run(main())
        finally:
            self.check()


@contextmanager
def interruptible_once() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    before = {number: signal.signal(number, interrupts.handle) for number in NUMBERS}
    try:
        yield interrupts
    except KeyboardInterrupt:
        raise  # on the way to the exit it stays deaf
    except BaseException:
        _restore(before)
        raise
    _restore(before)


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
