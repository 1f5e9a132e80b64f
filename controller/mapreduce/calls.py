"""The calls of a program, as a job without end: each is handed out, and answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from controller.mapreduce.inputs import MOST_BYTES
from controller.mapreduce.job import ONLY, Invocation, MapAction, Reduced
from controller.mapreduce.journal import Entry
from controller.mapreduce.pickled import by_value, dump, load
from edge_agent.model.errors import EdgeWhiskError

#: A function, its arguments, its named arguments.
Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]
#: Its value; or what it raised, and the text of the traceback.
Outcome = tuple[Any, BaseException | None, str]


class RemoteTraceback(Exception):
    """Where on the node it happened; the cause of what is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Answer(msgspec.Struct, frozen=True):
    calls: list[str]


_ANSWER = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class Asked:
    """Calls that go in one invocation. `single`: the future is of the one value."""

    arguments: bytes
    future: Future[Any]
    single: bool


@dataclass(slots=True)
class Calls:
    """A `Job` and its `Keeper`. `add` is for any thread, the rest for the runner's.

    `on_done` is called whenever a call has been answered.
    """

    action: MapAction
    on_done: Callable[[], None] = lambda: None
    path: Path = Path("calls")
    name: str = "calls"
    units: int = 0
    grouped: bool = False
    by_inputs: bool = False
    items: str | None = None
    retry_errors: int = 0
    digest: str = ""
    _asked: dict[int, Asked] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def actions(self) -> Mapping[str, MapAction]:
        return {ONLY: self.action}

    @property
    def pending(self) -> int:
        return len(self._asked)

    def add(self, entry: Entry) -> None:
        asked = self._asked.pop(entry.chunk)
        _settle(asked, [load(text) for text in _ANSWER.decode(entry.result).calls])
        self.on_done()

    def gave_up(self, chunk: int, error: EdgeWhiskError) -> bool:
        self._asked.pop(chunk).future.set_exception(error)
        self.on_done()
        return True

    def flush(self) -> None:
        """Nothing is written."""

    def ask(
        self,
        calls: Sequence[Call],
        *,
        single: bool,
        told: Callable[[], None],
    ) -> Future[Any]:
        """Queue the calls; `told` is called with their number settled.

        Raises:
            ValueError: what is to be sent is too long for an action's arguments.
        """
        for function in {id(call[0]): call[0] for call in calls}.values():
            by_value(function)
        arguments = b'{"calls":"%b"}' % dump(list(calls)).encode()
        if len(arguments) > MOST_BYTES:
            text = f"a call with its arguments takes {len(arguments)} bytes"
            raise ValueError(f"{text}, and {MOST_BYTES} are possible")
        future: Future[Any] = Future()
        with self._lock:
            self._asked[self.units] = Asked(arguments, future, single)
            self.units += 1
            told()
        return future

    def fail_all(self, error: BaseException) -> None:
        while self._asked:
            _, asked = self._asked.popitem()
            if not asked.future.done():
                asked.future.set_exception(error)

    def cancel_waiting(self) -> None:
        """Those that are handed out already are left to end."""
        for number, asked in list(self._asked.items()):
            if asked.future.cancel():
                self._asked.pop(number, None)

    def invocation(self, first: int, count: int) -> Invocation | None:  # noqa: ARG002 one
        asked = self._asked.get(first)
        if asked is None:
            return None
        if asked.future.running():
            return Invocation(ONLY, asked.arguments)  # again, or as a backup
        if asked.future.set_running_or_notify_cancel():
            return Invocation(ONLY, asked.arguments)
        self._asked.pop(first, None)
        self.on_done()
        return None

    def fits(self, first: int, count: int) -> int:  # noqa: ARG002
        return count

    def reduce(self, results: Sequence[Any]) -> Reduced:
        return Reduced(results)


def _settle(
    asked: Asked, outcomes: list[tuple[Any, BaseException | None, str]]
) -> None:
    for _, error, text in outcomes:
        if error is not None:
            error.__cause__ = RemoteTraceback(text)
            asked.future.set_exception(error)
            return
    values = [value for value, _, _ in outcomes]
    asked.future.set_result(values[0] if asked.single else values)
