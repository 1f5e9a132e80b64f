"""Many small tasks at once: how long until the last of them has ended.

One client sends them all without waiting (202), then reads every record. The lines:
how long one was in being accepted, how long it was until its end by the host's clock,
and the burst as a whole. Tasks and, of downloads and files, megabytes per second are in
the log, and follow from the time and the bytes of the burst as a whole.

    locust -f loadtests BurstUser --headless --work matmul,files --tasks 1000,10000

The run ends with the last burst.
"""

from __future__ import annotations

import json
import logging
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gevent
from _entities import Action, Entity, entity_name
from _object_server import ObjectServer
from _openwhisk import NAMESPACE
from _target import TargetError
from _user import ActionUser, failure_text
from _work_actions import WORKS
from gevent.pool import Pool
from locust.exception import StopUser

_log = logging.getLogger(__name__)
SENDERS = 64
POLL_S = 0.05
PATIENCE_S = 300.0
ARGUMENTS = {
    "matmul": {"n": 60},
    "trees": {"depth": 10},
    "files": {"size": 1024 * 1024},
}


@dataclass(frozen=True)
class Ended:
    """Of one task; times in ms since 1970 by the clock of the host."""

    begun_ms: float
    ended_ms: float
    size_bytes: int


class BurstUser(ActionUser):
    fixed_count = 1

    @classmethod
    def entities(cls, options: Namespace) -> Sequence[Entity]:
        _tasks(options)
        return [Action(WORKS[name], options.memory) for name in _works(options)]

    def one(self, due: float | None) -> None:
        del due
        for name in _works(self.options):
            for tasks in _tasks(self.options):
                self._burst(name, tasks)
        gevent.spawn(self.environment.runner.quit)
        raise StopUser

    def _burst(self, name: str, tasks: int) -> None:
        with ExitStack() as stack:
            arguments: dict[str, Any] = ARGUMENTS.get(name, {})
            if name == "download":
                arguments = {"url": self._served(stack)}
            self.warm(self._action(name), arguments)
            begun = time.perf_counter()
            pool = Pool(SENDERS)
            body = json.dumps(arguments).encode()
            label = f"burst {tasks} {name} {self.options.family}"
            ids = pool.map(lambda _: self._accepted(name, body, label), range(tasks))
            ended = pool.map(lambda each: self._ended(each, label), filter(None, ids))
            took_ms = (time.perf_counter() - begun) * 1000
        self._tell(label, [each for each in ended if each], tasks, took_ms)

    def _action(self, name: str) -> str:
        return Action(WORKS[name], self.options.memory).name

    def _served(self, stack: ExitStack) -> str:
        options = self.options
        server = ObjectServer(
            options.download_bytes, host=options.serve_host, target=self.host or ""
        )
        return stack.enter_context(server).url

    def _accepted(self, name: str, body: bytes, label: str) -> str | None:
        path = f"{NAMESPACE}/actions/{entity_name(self._action(name), self.options)}"
        with self.client.post(
            path,
            data=body,  # type: ignore[arg-type]  # bytes are sent as they are
            headers=self.headers,
            name=f"{label}: accepted",
            catch_response=True,
        ) as response:
            response.request_meta["context"] = {"status": response.status_code}
            if response.status_code != 202:  # noqa: PLR2004
                content = response.content or b""
                response.failure(failure_text(response.status_code, content))
                return None
            response.success()
            found: str = json.loads(response.content or b"")["activationId"]
            return found

    def _ended(self, activation: str, label: str) -> Ended | None:
        """Its record, once there is one: until then the host answers 404."""
        path = f"{NAMESPACE}/activations/{activation}"
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            response = self.aside.get(path, headers=self.headers)
            if response.status_code == 200:  # noqa: PLR2004
                return self._judged(json.loads(response.content or b"{}"), label)
            gevent.sleep(POLL_S)
        self.report(label, 0, error=f"no record after {PATIENCE_S:.0f} s")
        return None

    def _judged(self, record: dict[str, Any], label: str) -> Ended | None:
        response = record["response"]
        if not response["success"]:
            reason = json.dumps(response.get("result"))[:160]
            self.report(label, 0, error=f"{response['status']}: {reason}")
            return None
        known = {each["key"]: each.get("value") for each in record["annotations"]}
        begun = record["start"] - (known.get("waitTime") or 0)
        size = response["result"].get("bytes", 0)
        self.report(f"{label}: ended", record["end"] - begun, size_bytes=size)
        return Ended(begun, record["end"], size)

    def _tell(
        self, label: str, ended: Sequence[Ended], tasks: int, took_ms: float
    ) -> None:
        """The burst as a whole; the host's clock leaves our own reading out."""
        if not ended:
            return
        last, first = max(e.ended_ms for e in ended), min(e.begun_ms for e in ended)
        makespan_ms, moved = last - first, sum(each.size_bytes for each in ended)
        missing = tasks - len(ended)
        error = f"{missing} of {tasks} tasks failed" if missing else None
        self.report(f"{label}: all", makespan_ms, error=error, size_bytes=moved)
        self.report(f"{label}: all records read", took_ms, error=error)
        seconds = max(makespan_ms / 1000, 0.001)
        rate, speed = len(ended) / seconds, moved / 1e6 / seconds
        _log.info(
            "%s: %.0f tasks/s%s", label, rate, f", {speed:.0f} MB/s" * (speed > 0)
        )


def _works(options: Namespace) -> list[str]:
    chosen: list[str] = options.work.split(",")
    for name in chosen:
        if name not in WORKS:
            raise TargetError(f"--work {name}: there are {', '.join(WORKS)}")
    return chosen


def _tasks(options: Namespace) -> list[int]:
    try:
        numbers = [int(each) for each in options.tasks.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise TargetError(f"--tasks {options.tasks}: not numbers above 0")
    return numbers
