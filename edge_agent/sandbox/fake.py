"""Sandboxes that run nothing: scripted, for the tests of whoever needs a factory.

Without knobs every create and init succeeds at once and a run answers with its
arguments. Knobs, on the factory (for the sandboxes it makes from then on) or on one
sandbox: `said_to_init` and `said_to_run` are a `Said`, a `Ran`, or a function from the
request to one; `hold_creates`, `hold_inits`, `hold_runs` keep these waiting for
`release()`; `fail_creates` makes so many creates raise SandboxError; `run_s` lets a run
take time by `later`, the event loop's `call_later` unless a test brings its own.
`sandbox.die()` ends one as a crash would. `factory.calls` records what was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from edge_agent.model.activations import Answer, Cause, Gone, Said
from edge_agent.model.kinds import KindEntry
from edge_agent.sandbox.base import (
    AGREED,
    InitRequest,
    Ran,
    RunRequest,
    SandboxError,
    SandboxSpec,
)

Script = Said | Ran | Callable[[Any], Said | Ran]
Later = Callable[[float, Callable[[], None]], object]


def echo(request: RunRequest) -> Said:
    return Answer(request.arguments)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `what` is create, init, run or destroy."""

    what: str
    sandbox_id: str
    request: SandboxSpec | InitRequest | RunRequest | None = None
    timeout_s: float = 0.0
    logs_bytes: int = 0


class ContractBroken(AssertionError):
    """A test, or the code it tests, asked for what the contract forbids."""


class FakeSandbox:
    """A Sandbox that answers by script; `dead` once it has died or was destroyed."""

    def __init__(
        self, factory: FakeFactory, sandbox_id: str, spec: SandboxSpec
    ) -> None:
        self.id = sandbox_id
        self.spec = spec
        self.level = factory.level
        self.exited: asyncio.Future[None] = factory.loop.create_future()
        self.said_to_init: Script = factory.said_to_init
        self.said_to_run: Script = factory.said_to_run
        self.hold_inits = factory.hold_inits
        self.hold_runs = factory.hold_runs
        self.run_s = factory.run_s
        self.exceeds = ""
        self.destroyed = False
        self._factory = factory
        self._ready = False
        self._places = 1
        self._waiting: list[tuple[asyncio.Future[Ran], Ran]] = []

    def exceeded(self) -> str:
        return self.exceeds

    @property
    def dead(self) -> bool:
        return self.exited.done()

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def init(
        self, request: InitRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        self._factory.note("init", self.id, request, timeout_s, logs_bytes)
        _expect(not self._ready, "init is called once")
        ran = _play(self.said_to_init, request)
        self._ready = isinstance(ran.said, Answer) and ran.said.ok
        if isinstance(ran.said, Answer) and AGREED in bytes(ran.said.body):
            self._places = request.concurrency
        return self._answer(ran, hold=self.hold_inits)

    def run(
        self, request: RunRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]:
        self._factory.note("run", self.id, request, timeout_s, logs_bytes)
        _expect(self._ready, "run needs an init that was ok")
        _expect(len(self._waiting) < self._places, "so many runs at a time")
        ran = _play(self.said_to_run, request)
        return self._answer(ran, hold=self.hold_runs, after_s=self.run_s)

    def release(self, said: Said | Ran | None = None) -> None:
        """Let what waits longest answer: by its script, or with `said`."""
        if not self._waiting:
            raise ContractBroken("nothing is waiting")
        future, scripted = self._waiting.pop(0)
        ran = scripted if said is None else _play(said, None)
        if isinstance(ran.said, Gone) and not self.exited.done():
            self.exited.set_result(None)
        future.set_result(ran)

    def time_out(self) -> None:
        self.release(Gone(Cause.TIMED_OUT))

    def die(self, cause: Cause = Cause.EXITED) -> None:
        """End as a crash would: a waiting call is Gone, `exited` completes."""
        if self.busy:
            while self.busy:
                self.release(Gone(cause))
        elif not self.exited.done():
            self.exited.set_result(None)

    async def destroy(self) -> None:
        if self.destroyed:
            return
        self.destroyed = True
        self._factory.note("destroy", self.id)
        self._factory.live.pop(self.id, None)
        self.die()
        await asyncio.sleep(0)

    def _answer(
        self, ran: Ran, *, hold: bool, after_s: float = 0.0
    ) -> asyncio.Future[Ran]:
        future: asyncio.Future[Ran] = self._factory.loop.create_future()
        if self.dead:
            future.set_result(Ran(Gone(Cause.EXITED)))
            return future
        self._waiting.append((future, ran))
        if after_s:
            self._factory.later(after_s, lambda: self._release_if(future))
        elif not hold:
            self.release()
        return future

    def _release_if(self, future: asyncio.Future[Ran]) -> None:
        if self._waiting and self._waiting[0][0] is future:
            self.release()


class FakeFactory:
    """A SandboxFactory of FakeSandboxes; `made` are all, `live` the undestroyed."""

    def __init__(
        self,
        *,
        kinds: tuple[str, ...] = ("python:3.11", "nodejs:20"),
        level: str = "namespaces",
        later: Later | None = None,
    ) -> None:
        self.kinds = kinds
        self.level = level
        self.said_to_init: Script = Answer(b"{}")
        self.said_to_run: Script = echo
        self.hold_creates = False
        self.hold_inits = False
        self.hold_runs = False
        self.fail_creates = 0
        self.fail_with: SandboxError | None = None
        self.run_s = 0.0
        self.calls: list[Call] = []
        self.made: list[FakeSandbox] = []
        self.live: dict[str, FakeSandbox] = {}
        self.closed = False
        self._later = later
        self._numbers = count(1)
        self._creating: list[asyncio.Future[None]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def busy(self) -> list[FakeSandbox]:
        return [sandbox for sandbox in self.live.values() if sandbox.busy]

    def later(self, delay_s: float, callback: Callable[[], None]) -> None:
        (self._later or self.loop.call_later)(delay_s, callback)

    @property
    def entries(self) -> tuple[KindEntry, ...]:
        """The kinds themselves; the first of a family is its default."""
        families = [kind.partition(":")[0] for kind in self.kinds]
        return tuple(
            KindEntry(kind, kind, default=families.index(family) == place)
            for place, (kind, family) in enumerate(
                zip(self.kinds, families, strict=True)
            )
        )

    def why_not(self, kind: str) -> str:
        return "Too old." if kind == "python:2" else ""

    def resolve(self, kind: str) -> str | None:
        """`family:default` and `family:N...` are the family's first kind."""
        if kind in self.kinds:
            return kind
        family, colon, _ = kind.partition(":")
        serving = (k for k in self.kinds if colon and k.split(":")[0] == family)
        return next(serving, None)

    async def create(self, spec: SandboxSpec) -> FakeSandbox:
        sandbox_id = f"fake-{next(self._numbers)}"
        self.note("create", sandbox_id, spec)
        if self.hold_creates:
            gate: asyncio.Future[None] = self.loop.create_future()
            self._creating.append(gate)
            await gate
        if self.fail_creates:
            self.fail_creates -= 1
            raise self.fail_with or SandboxError(f"none for {spec.kind}: scripted")
        sandbox = FakeSandbox(self, sandbox_id, spec)
        self.made.append(sandbox)
        self.live[sandbox_id] = sandbox
        return sandbox

    def release_creates(self, number: int | None = None) -> None:
        """Let the oldest `number` of waiting creates go on, all when None."""
        going = self._creating[:number]
        del self._creating[: len(going)]
        for gate in going:
            if not gate.done():
                gate.set_result(None)

    async def close(self) -> None:
        self.closed = True
        for sandbox in list(self.live.values()):
            await sandbox.destroy()

    def asked(self, what: str) -> list[Call]:
        return [call for call in self.calls if call.what == what]

    def note(
        self,
        what: str,
        sandbox_id: str,
        request: SandboxSpec | InitRequest | RunRequest | None = None,
        timeout_s: float = 0.0,
        logs_bytes: int = 0,
    ) -> None:
        self.calls.append(Call(what, sandbox_id, request, timeout_s, logs_bytes))


def _play(script: Script, request: object) -> Ran:
    said = script(request) if callable(script) else script
    return said if isinstance(said, Ran) else Ran(said)


def _expect(holds: object, text: str) -> None:
    if not holds:
        raise ContractBroken(text)
