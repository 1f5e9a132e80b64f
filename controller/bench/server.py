"""Servers to measure: processes of ours that say on one line that they serve."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from controller.bench.load import BenchError, Request

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 60.0
NAMESPACE = "/api/v1/namespaces/_"
LOAD = "/edge/v1/load"


@dataclass(frozen=True)
class Cores:
    """What is measured runs on `served`, what measures on `asking`."""

    served: frozenset[int]
    asking: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        return self.served | self.asking

    @classmethod
    def divide(cls) -> Cores:
        """One core each; the same one where the machine has no more."""
        ours = sorted(os.sched_getaffinity(0))
        return cls(frozenset(ours[:1]), frozenset(ours[1:2] or ours[:1]))


@contextlib.contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Run this process on `cores`; what it starts meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Agent:
    """A running `edge-agent run`; `log` is its stderr."""

    url: str
    key: str
    pid: int
    log: Path

    def request(self, path: str, **fields: Any) -> Request:
        return Request(
            self.url + NAMESPACE + path, authorization=self.authorization, **fields
        )

    def invoke(self, action: str, body: bytes, *, query: str) -> Request:
        expect = 200 if "blocking=true" in query else 202
        return self.request(f"/actions/{action}?{query}", body=body, expect=expect)

    @property
    def authorization(self) -> str:
        return f"Basic {base64.b64encode(self.key.encode()).decode()}"

    def put(
        self,
        action: str,
        code: str,
        *,
        kind: str = "python:default",
        memory_mb: int = 256,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        marks = (annotations or {}).items()
        body = {
            "exec": {"kind": kind, "code": code},
            "limits": {"memory": memory_mb},
            "annotations": [{"key": key, "value": value} for key, value in marks],
        }
        self.call("PUT", f"/actions/{action}?overwrite=true", body)

    def delete(self, action: str) -> None:
        self.call("DELETE", f"/actions/{action}")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request of the set-up, never measured."""
        return self._call(method, self.request(path), body)

    def load(self) -> Any:
        """How busy it is."""
        return self._call("GET", replace(self.request(""), url=f"{self.url}{LOAD}"))

    def _call(self, method: str, request: Request, body: object = None) -> Any:
        with connection(self.url) as http:
            http.request(
                method,
                request.url.removeprefix(self.url),
                body=None if body is None else json.dumps(body),
                headers=headers(request),
            )
            answer = http.getresponse()
            return _json(answer, f"{method} {request.url}")


@contextlib.contextmanager
def connection(url: str) -> Iterator[HTTPConnection]:
    http = HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_TIMEOUT_S)
    try:
        yield http
    finally:
        http.close()


def headers(request: Request) -> dict[str, str]:
    return {
        "Authorization": request.authorization,
        "Content-Type": "application/json",
    }


def _json(answer: HTTPResponse, what: str) -> Any:
    text = answer.read()
    if answer.status >= 300:  # noqa: PLR2004
        raise BenchError(f"{what}: {answer.status} {text[:200].decode()}")
    return json.loads(text)


@contextlib.contextmanager
def agent(
    *,
    cores: frozenset[int],
    settings: str = "",
    environment: Mapping[str, str] | None = None,
    data: Path | None = None,
) -> Iterator[Agent]:
    """An agent on `data`, or a fresh one on a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        home = Path(folder)
        (home / "settings.toml").write_text(settings)
        command = [sys.executable, "-m", "edge_agent", "run", "--print-json"]
        command += ["--port", "0", "--data", str(data or home / "data")]
        command += ["--settings", str(home / "settings.toml")]
        log = home / "agent.log"
        with started(command, cores=cores, log=log, environment=environment) as facts:
            yield Agent(facts["url"], facts["key"], facts["pid"], log)


@contextlib.contextmanager
def echo(*, cores: frozenset[int]) -> Iterator[str]:
    """The bare echo server; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        command = [sys.executable, "-m", "controller.bench.echo"]
        log = Path(folder) / "echo.log"
        with started(command, cores=cores, log=log) as facts:
            yield facts["url"]


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    cores: frozenset[int],
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """Start `command`, yield the JSON of its first line, end it."""
    with on_cores(cores), log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield _first_line(process, log)
    finally:
        _stop(process)


def _first_line(process: subprocess.Popen[bytes], log: Path) -> Any:
    stdout = process.stdout
    if stdout is None:
        raise BenchError("no pipe to hear the server by")
    ready, _, _ = select.select([stdout], [], [], START_TIMEOUT_S)
    line = stdout.readline() if ready else b""
    try:
        return json.loads(line)
    except ValueError as error:
        said = log.read_text(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        raise BenchError(f"{process.args!r} did not start: {last}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to its group; a backlog may be left undone."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()


def wait_until(true: Any, *, timeout_s: float, pause_s: float = 0.02) -> None:
    """Ask `true()` again and again.

    Raises:
        BenchError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {timeout_s:.0f} s in vain")
        time.sleep(pause_s)
