"""The fake keeps the contract of `base`, so that tests on it mean something."""

from __future__ import annotations

import asyncio

import pytest

from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.base import (
    InitRequest,
    Ran,
    RunRequest,
    SandboxError,
    SandboxFactory,
    SandboxSpec,
)
from edge_agent.sandbox.fake import ContractBroken, FakeFactory, FakeSandbox

SPEC = SandboxSpec("python:3.11", 256)
INIT = InitRequest(name="a", main="main", code="x", binary=False, env={})
RUN = RunRequest(b'{"a":1}', {})


async def _ready(factory: FakeFactory) -> FakeSandbox:
    sandbox = await factory.create(SPEC)
    await sandbox.init(INIT, timeout_s=1, logs_bytes=0)
    return sandbox


def _factory(factory: SandboxFactory) -> SandboxFactory:
    return factory


async def test_by_default_a_run_echoes_its_arguments() -> None:
    factory = FakeFactory()
    assert _factory(factory).level == "namespaces"
    sandbox = await _ready(factory)
    assert await sandbox.run(RUN, timeout_s=1, logs_bytes=0) == Ran(
        Answer(RUN.arguments)
    )
    assert [call.what for call in factory.calls] == ["create", "init", "run"]


async def test_a_held_run_waits_for_its_release() -> None:
    factory = FakeFactory()
    factory.hold_runs = True
    sandbox = await _ready(factory)
    run = sandbox.run(RUN, timeout_s=1, logs_bytes=0)
    await asyncio.sleep(0)
    assert not run.done()
    assert factory.busy == [sandbox]
    sandbox.release(Answer(b"[]"))
    assert (await run).said == Answer(b"[]")


async def test_dying_ends_the_run_and_completes_exited() -> None:
    factory = FakeFactory()
    factory.hold_runs = True
    sandbox = await _ready(factory)
    run = sandbox.run(RUN, timeout_s=1, logs_bytes=0)
    sandbox.die(Cause.OUT_OF_MEMORY)
    assert (await run).said == Gone(Cause.OUT_OF_MEMORY)
    assert sandbox.exited.done()


async def test_destroy_is_idempotent_and_ends_a_run() -> None:
    factory = FakeFactory()
    factory.hold_runs = True
    sandbox = await _ready(factory)
    run = sandbox.run(RUN, timeout_s=1, logs_bytes=0)
    await sandbox.destroy()
    await sandbox.destroy()
    assert (await run).said == Gone(Cause.EXITED)
    assert len(factory.asked("destroy")) == 1
    assert not factory.live


async def test_a_run_before_an_ok_init_breaks_the_contract() -> None:
    factory = FakeFactory()
    factory.said_to_init = Answer(b'{"error":"no"}', ok=False)
    sandbox = await _ready(factory)
    with pytest.raises(ContractBroken):
        sandbox.run(RUN, timeout_s=1, logs_bytes=0)


async def test_creates_can_fail_and_be_held() -> None:
    factory = FakeFactory()
    factory.fail_creates = 1
    with pytest.raises(SandboxError):
        await factory.create(SPEC)
    factory.hold_creates = True
    creating = asyncio.ensure_future(factory.create(SPEC))
    await asyncio.sleep(0)
    assert not creating.done()
    factory.release_creates()
    assert (await creating).spec == SPEC


async def test_runs_take_the_time_that_the_test_gives() -> None:
    due = []
    factory = FakeFactory(later=lambda delay, go: due.append((delay, go)))
    factory.run_s = 2.0
    sandbox = await _ready(factory)
    run = sandbox.run(RUN, timeout_s=9, logs_bytes=0)
    assert not run.done()
    [(delay, go)] = due
    go()
    assert delay == 2.0
    assert run.done()
