"""joblib on a fleet.

    with FleetExecutor() as fleet:
        register(fleet)
        with joblib.parallel_config(backend="edgewhisk"):
            joblib.Parallel()(joblib.delayed(work)(n) for n in range(100))

Nodes need not have joblib: its batches are taken apart here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import ParallelBackendBase

from controller.mapreduce.executor import FleetExecutor

NAME = "edgewhisk"


def register(fleet: FleetExecutor, name: str = NAME) -> None:
    """Let joblib know the fleet as the backend `name`."""
    register_parallel_backend(name, lambda **_: FleetBackend(fleet))


class FleetBackend(ParallelBackendBase):  # type: ignore[misc]
    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, fleet: FleetExecutor) -> None:
        super().__init__()
        self._fleet = fleet

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        slots = 2 * self._fleet.slots
        return slots if n_jobs in {None, -1} else max(1, int(n_jobs or 1))

    def submit(
        self, func: Any, callback: Callable[[Any], None] | None = None
    ) -> Future[Any]:
        """`func` is a batch of joblib's."""
        future = self._fleet.submit_calls(list(func.items))
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 its form
        """What is under way ends by itself; joblib takes no answer any more."""
