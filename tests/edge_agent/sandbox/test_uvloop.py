"""The driver on the event loop that the agent runs on, where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edge_agent import settings
from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.base import InitRequest, RunRequest, SandboxSpec
from edge_agent.sandbox.process import ProcessFactory
from edge_agent.sandbox.proxy import ProcessSandbox

uvloop = pytest.importorskip("uvloop")

CODE = """
import time
def main(args):
    print('x' * args.get('log', 0))
    time.sleep(args.get('s', 0))
    return args
"""
INIT = InitRequest(name="a", main="main", code=CODE, binary=False, env={})


async def _with_sandbox(use: Callable[[ProcessSandbox], Awaitable[None]]) -> None:
    sandboxing = settings.Sandboxing(minimum_level="rlimits")
    factory = await ProcessFactory.open(sandboxing, settings.Runtimes())
    try:
        kind = factory.resolve("python:default")
        assert kind is not None
        sandbox = await factory.create(SandboxSpec(kind, 256))
        ran = await sandbox.init(INIT, timeout_s=10, logs_bytes=1000)
        assert ran.said == Answer(b'{"ok":true}')
        await use(sandbox)
    finally:
        await factory.close()


def _on_uvloop(use: Callable[[ProcessSandbox], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_with_sandbox(use))


def test_small_and_large_runs_answer() -> None:
    async def use(sandbox: ProcessSandbox) -> None:
        for size in (1, 1_000_000, 10, 70_000):
            arguments = b'{"a":"' + b"x" * size + b'"}'
            request = RunRequest(arguments, {})
            ran = await sandbox.run(request, timeout_s=10, logs_bytes=1000)
            assert ran.said == Answer(arguments)

    _on_uvloop(use)


def test_time_limits_and_deaths_are_seen() -> None:
    async def use(sandbox: ProcessSandbox) -> None:
        request = RunRequest(b'{"s":60,"log":5000}', {})
        ran = await sandbox.run(request, timeout_s=0.2, logs_bytes=1000)
        assert ran.said == Gone(Cause.TIMED_OUT)
        await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)

    _on_uvloop(use)


def test_a_sandbox_may_be_destroyed_in_the_middle_of_a_run() -> None:
    async def use(sandbox: ProcessSandbox) -> None:
        request = RunRequest(b'{"s":60,"a":"' + b"x" * 3_000_000 + b'"}', {})
        running = sandbox.run(request, timeout_s=60, logs_bytes=0)
        await asyncio.sleep(0.01)
        await sandbox.destroy()
        assert (await running).said == Gone(Cause.EXITED)

    _on_uvloop(use)
