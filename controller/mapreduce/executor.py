"""A fleet as a `concurrent.futures.Executor`.

    with FleetExecutor() as fleet:
        future = fleet.submit(pow, 2, 100)
        squares = list(fleet.map(lambda n: n * n, range(1000), chunksize=50))

Functions are pickled by cloudpickle, so closures, lambdas and functions of the calling
file do. Calls are given to nodes as these have room, repeated where a node goes, and
answered once. `asyncio.wrap_future` and joblib (`joblib_backend`) take it from here.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from controller.fleet.target import Choice, Target, choose
from controller.mapreduce.calling_node import CallingNode
from controller.mapreduce.calls import Call, Calls
from controller.mapreduce.fleet_node import FleetNode
from controller.mapreduce.patience import Patience
from controller.mapreduce.pickled import calling_action
from controller.mapreduce.run import crew, remove_all
from controller.mapreduce.runner import Runner
from edge_agent.model.errors import EdgeWhiskError

_P = ParamSpec("_P")
_T = TypeVar("_T")
_BROKEN = "the fleet cannot be used any more"


class FleetExecutor(Executor):
    """Calls functions on the nodes of a fleet.

    `targets` are those of `edgectl` without options when None. `limits` are the
    action's (ms, MB, MB), `requirements` packages that nodes install for it, `patience`
    says how long nodes are waited for.
    """

    def __init__(
        self,
        targets: Sequence[Target] | None = None,
        *,
        limits: Mapping[str, int] | None = None,
        requirements: Sequence[str] = (),
        patience: Patience | None = None,
    ) -> None:
        """Raises TargetError: there is no fleet."""
        if targets is None:
            targets = choose(Choice(), environ=os.environ, home=Path.home()).targets
        self._targets = targets
        self._patience = patience
        action = calling_action(limits=limits or {}, requirements=requirements)
        self._calls = Calls(action, on_done=self._look_whether_over)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._closing = False
        self._broken: BaseException | None = None

    def submit(
        self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Raises ValueError where function and arguments are too long to send."""
        return self.submit_calls([(fn, args, kwargs)], single=True)

    def submit_calls(
        self, calls: Sequence[Call], *, single: bool = False
    ) -> Future[Any]:
        """Several calls in one invocation: a future of the list of their values."""
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._start()
            if self._broken is not None:
                raise BrokenExecutor(_BROKEN) from self._broken
            return self._calls.ask(calls, single=single, told=self._tell)

    def map(
        self,
        fn: Callable[..., _T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[_T]:
        """As of any Executor; `chunksize` calls go in one invocation."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        futures = []
        every = zip(*iterables, strict=False)
        while some := list(itertools.islice(every, chunksize)):
            futures.append(self.submit_calls([(fn, args, {}) for args in some]))
        return _values(futures, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 its form
        with self._lock:
            self._closing = True
        if cancel_futures:
            self._calls.cancel_waiting()
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        if thread.is_alive():
            loop.call_soon_threadsafe(self._look_whether_over)
        if wait:
            thread.join()
            atexit.unregister(self.shutdown)

    @property
    def slots(self) -> int:
        """How many calls the nodes that have joined work on at once."""
        runner = self._runner
        tallies = list(runner.tallies.values()) if runner else []
        return sum(tally.slots for tally in tallies) or 1

    def _start(self) -> None:
        if self._thread is not None:
            return
        # A daemon: else the interpreter waits for it before it tells us of its end.
        self._thread = threading.Thread(
            target=self._live, name="edgewhisk-fleet", daemon=True
        )
        self._thread.start()
        atexit.register(self.shutdown)
        self._ready.wait()

    def _live(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 the edge of a thread
            self._broken = error
        finally:
            self._ready.set()
            broken = BrokenExecutor(_BROKEN)
            broken.__cause__ = self._broken
            self._calls.fail_all(broken)

    async def _serve(self) -> None:
        run_id = secrets.token_hex(4)
        async with crew(run_id, self._targets, wrap=_calling) as (nodes, _):
            runner = Runner(
                self._calls,
                nodes,
                run=run_id,
                action_name=f"{self._calls.name}-{run_id}",
                keeper=self._calls,
                patience=self._patience,
                endless=True,
            )
            self._runner, self._loop = runner, asyncio.get_running_loop()
            self._ready.set()
            try:
                await runner.run()
            except EdgeWhiskError as error:
                self._broken = error
            finally:
                await remove_all(runner)

    def _tell(self) -> None:
        """The runner, of one call more."""
        if self._loop is None or self._runner is None:
            raise BrokenExecutor(_BROKEN) from self._broken
        try:
            self._loop.call_soon_threadsafe(self._runner.add_units, 1)
        except RuntimeError as error:  # it has ended just now
            raise BrokenExecutor(_BROKEN) from error

    def _look_whether_over(self) -> None:
        if self._closing and not self._calls.pending and self._runner is not None:
            self._runner.stop()


def _calling(node: FleetNode) -> CallingNode:
    return CallingNode(node)


def _values(futures: list[Future[Any]], timeout_s: float | None) -> Iterator[Any]:
    """In order; what is left is cancelled when it is not taken to the end."""
    until = None if timeout_s is None else time.monotonic() + timeout_s

    def taken() -> Iterator[Any]:
        try:
            futures.reverse()
            while futures:
                left = None if until is None else until - time.monotonic()
                yield from futures.pop().result(left)
        finally:
            for future in futures:
                future.cancel()

    return taken()
