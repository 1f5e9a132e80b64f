"""A future whose callbacks run at once.

An ordinary future hands each callback to the event loop for its next turn. On the way
of a warm run (the sandbox answers, the pool frees it, the engine writes the record)
that is a turn of the loop for each station, a tenth of the agent's work per request.
Whoever completes a `Soon` does so as the last thing it does, because the stations that
follow may well come back to it.

Awaiting one is as ever: a task is woken in the next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")


class Soon(asyncio.Future[T]):
    """As a future, but `set_result` calls what was added by `add_done_callback`.

    A callback that was added with a context (that is how tasks wait), or after the end,
    is left to the loop; so are all of them when the end is an exception or a cancel.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._direct: list[Callable[[Any], object]] = []

    def add_done_callback(
        self, fn: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        if context is None and not self.done():
            self._direct.append(fn)
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        kept = [one for one in self._direct if one != fn]
        removed = len(self._direct) - len(kept)
        self._direct = kept
        return removed + super().remove_done_callback(fn)

    def set_result(self, result: T, /) -> None:
        super().set_result(result)
        direct, self._direct = self._direct, []
        for callback in direct:
            try:
                callback(self)
            except Exception as error:  # noqa: BLE001 as the loop does: report, go on
                self.get_loop().call_exception_handler(
                    {"message": f"{callback!r} failed", "exception": error}
                )

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        self._leave_to_loop()

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        self._leave_to_loop()
        return cancelled

    def _leave_to_loop(self) -> None:
        direct, self._direct = self._direct, []
        for callback in direct:
            super().add_done_callback(callback)
