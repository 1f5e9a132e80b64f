"""Real sandboxes at each level: the namespaces are those of this machine."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import settings
from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.base import InitRequest, Ran, RunRequest, SandboxSpec
from edge_agent.sandbox.cgroup import Cgroups
from edge_agent.sandbox.probe import Probe, probe_kernel
from edge_agent.sandbox.process import ProcessFactory
from edge_agent.sandbox.proxy import ProcessSandbox

LOGS_BYTES = 1 << 20
CONTEXT = {
    "namespace": "guest",
    "action_name": "/guest/a",
    "action_version": "0.0.1",
    "activation_id": "0" * 32,
    "transaction_id": "t",
    "deadline": "1700000000000",
}


@dataclass
class Bench:
    """A factory and short ways to use it; on the class itself, ways to read answers."""

    factory: ProcessFactory

    async def create(self, family: str = "python") -> ProcessSandbox:
        kind = self.factory.resolve(f"{family}:default")
        assert kind is not None, f"{family} is not installed"
        return await self.factory.create(SandboxSpec(kind, 256))

    async def ready(
        self, code: str, *, family: str = "python", **more: Any
    ) -> ProcessSandbox:
        """A sandbox that knows `code`."""
        sandbox = await self.create(family)
        ran = await self.init(sandbox, code, **more)
        assert isinstance(ran.said, Answer), ran
        assert ran.said.ok, ran
        return sandbox

    async def once(self, code: str, arguments: Any = None, **more: Any) -> Any:
        """The result of one run in a new sandbox."""
        sandbox = await self.ready(code, **more)
        return self.result(await self.run(sandbox, arguments))

    async def refused(self, code: str, *, family: str = "python", **more: Any) -> Ran:
        """What an init that fails comes to."""
        return await self.init(await self.create(family), code, **more)

    async def init(
        self,
        sandbox: ProcessSandbox,
        code: str,
        *,
        main: str = "main",
        binary: bool = False,
        env: dict[str, str] | None = None,
        timeout_s: float = 15.0,
        logs_bytes: int = LOGS_BYTES,
    ) -> Ran:
        request = InitRequest(
            name="a", main=main, code=code, binary=binary, env=env or {}
        )
        return await sandbox.init(request, timeout_s=timeout_s, logs_bytes=logs_bytes)

    async def run(
        self,
        sandbox: ProcessSandbox,
        arguments: Any = None,
        *,
        timeout_s: float = 15.0,
        logs_bytes: int = LOGS_BYTES,
        context: dict[str, str] | None = None,
    ) -> Ran:
        value = msgspec.json.encode({} if arguments is None else arguments)
        request = RunRequest(value, CONTEXT if context is None else context)
        return await sandbox.run(request, timeout_s=timeout_s, logs_bytes=logs_bytes)

    @staticmethod
    def result(ran: Ran) -> Any:
        assert isinstance(ran.said, Answer), ran
        assert ran.said.ok, ran
        return msgspec.json.decode(ran.said.body)

    @staticmethod
    def refusal(ran: Ran) -> str:
        """The error text of an answer that is not ok."""
        assert isinstance(ran.said, Answer), ran
        assert not ran.said.ok, ran
        error: str = msgspec.json.decode(ran.said.body)["error"]
        return error

    @staticmethod
    def cause(ran: Ran) -> Cause:
        assert isinstance(ran.said, Gone), ran
        return ran.said.cause

    @staticmethod
    def texts(ran: Ran, stream: str = "stdout") -> list[str]:
        """The lines of one stream, without their stamps."""
        mark = f" {stream}: "
        return [
            line[30 + len(mark) :] for line in ran.logs if line[30:].startswith(mark)
        ]

    @staticmethod
    def zipped(files: dict[str, str]) -> str:
        """A base64 zip."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return base64.b64encode(buffer.getvalue()).decode()

    @staticmethod
    async def processes(mark: str, *, until: int | None = None) -> list[int]:
        """Pids with `mark` on their command line, waiting until they are `until`."""
        for _ in range(200):
            found = _marked(mark)
            if until is None or len(found) == until:
                break
            await asyncio.sleep(0.02)
        return found


def _marked(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if mark.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


HELD = pytest.mark.sandbox
#: `full` by the fork server, where the kind has one; `namespaces` by bubblewrap alone.
LEVELS = [
    pytest.param("full", marks=HELD),
    pytest.param("namespaces", marks=HELD),
    "rlimits",
]
OpenBench = Callable[..., Awaitable[Bench]]


@cache
def _kernel() -> Probe:
    return probe_kernel()


def _probe_of(level: str) -> Probe:
    match level:
        case "rlimits":
            return Probe()
        case "namespaces":
            return replace(_kernel(), seccomp=False, cgroups=Cgroups())
        case _:
            if _kernel().level != "full":
                pytest.skip("; ".join(map(str, _kernel().findings)))
            return _kernel()


@pytest.fixture
async def open_bench() -> AsyncIterator[OpenBench]:
    opened: list[ProcessFactory] = []

    async def start(
        level: str, *, runtimes: settings.Runtimes | None = None, **more: Any
    ) -> Bench:
        probe = more.pop("probe", None) or await asyncio.to_thread(_probe_of, level)
        more = {"minimum_level": "rlimits", "fork_server": level == "full"} | more
        factory = await ProcessFactory.open(
            settings.Sandboxing(**more),
            runtimes or settings.Runtimes(),
            probe=probe,
        )
        opened.append(factory)
        assert factory.level == level
        return Bench(factory)

    yield start
    for factory in opened:
        await factory.close()
        assert not factory.live


@pytest.fixture(params=LEVELS)
async def bench(request: pytest.FixtureRequest, open_bench: OpenBench) -> Bench:
    """A factory of each level in turn."""
    return await open_bench(request.param)


@pytest.fixture
async def held(open_bench: OpenBench) -> Bench:
    """A factory of level full; mark the test `sandbox`."""
    return await open_bench("full")
