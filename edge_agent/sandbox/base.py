"""What the pool asks of a sandbox, whatever is behind it.

The contract, for every driver:

1. A factory's `create` returns a started sandbox that knows no action yet (prewarmed).
2. `init` is called once. After an answer that is not ok, or `Gone`, only `destroy` may
   follow.
3. `run` may be called when `init` was ok and no other run is under way, or as many as
   `concurrency` when the init's answer agreed. The future it
   returns always completes, within the timeout and a short grace: a run that is out of
   time is `Gone(TIMED_OUT)` and the sandbox is dead by then, or when the others that
   go on at once have ended and it is destroyed. Cancelling the future is
   not allowed; `destroy` ends a run early, as `Gone(EXITED)`.
4. `exited` completes when the sandbox died by itself or by ours; the pool watches it so
   that an idle sandbox that dies is not handed a job.
5. `destroy` is idempotent, kills every descendant, reaps, frees folders and control
   groups, and returns when all of that is done.

`run` returns a future and not a coroutine because a warm run is the hot path: no task
is made for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edge_agent.model.activations import Said

#: What an image stands behind, where a kind is asked for.
BLACKBOX = "blackbox:"


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What is fixed when a sandbox starts. `kind` is concrete, e.g. `python:3.11`.

    A blackbox action's kind is asked for as `blackbox:IMAGE`; what that resolves to is
    the drivers' business: itself for a container engine, `native` for an image whose
    work a process can do.
    `network` is `auto`, what the node gives to all, or `none`.
    """

    kind: str
    memory_mb: int
    network: str = "auto"


#: What a launcher has in its answer to the init when it can serve several runs at once.
AGREED = b'"concurrent":true'


@dataclass(frozen=True, slots=True)
class InitRequest:
    """The `value` of /init (C1). `main` is never empty; `env` as C2 and C4.

    `concurrency`: so many runs may go on at once, if the launcher says in its answer
    that it can: `"concurrent":true`.
    """

    name: str
    main: str
    code: str
    binary: bool
    env: Mapping[str, str]
    concurrency: int = 1


class RunRequest(msgspec.Struct, frozen=True):
    """The body of /run (C3): `arguments` is JSON text, `context` the other fields.

    `context` holds namespace, action_name, action_version, activation_id,
    transaction_id, deadline (epoch ms) and, where the action gets one, api_key.
    """

    arguments: bytes
    context: Mapping[str, str]


class Ran(msgspec.Struct, frozen=True):
    """What an init or a run came to, and the lines it logged (C23's form)."""

    said: Said
    logs: tuple[str, ...] = ()


class Sandbox(Protocol):
    """One sandbox; `level` is how well it is held: full, namespaces or rlimits."""

    @property
    def id(self) -> str: ...

    @property
    def spec(self) -> SandboxSpec: ...

    @property
    def level(self) -> str: ...

    @property
    def exited(self) -> asyncio.Future[None]: ...

    def init(
        self, request: InitRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]: ...

    def run(
        self, request: RunRequest, *, timeout_s: float, logs_bytes: int
    ) -> asyncio.Future[Ran]: ...

    def exceeded(self) -> str:
        """Of `processes` and `disk`, what the last run has run into; else empty.

        Asked once after a run that failed, before `destroy`.
        """
        ...

    async def destroy(self) -> None: ...


class SandboxFactory(Protocol):
    """Makes sandboxes. `kinds` lists what can run here, the default of a family first.

    `resolve` turns `python:default`, `python:3` and the like into a concrete kind of
    `kinds`, None when nothing installed serves it.
    """

    @property
    def kinds(self) -> tuple[str, ...]: ...

    @property
    def level(self) -> str: ...

    def resolve(self, kind: str) -> str | None: ...

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox; raises SandboxError when that fails."""
        ...

    async def close(self) -> None: ...


class SandboxError(Exception):
    """A sandbox could not be made: no runtime, no process, no memory."""


class ActionToBlame(SandboxError):
    """It could not be made for what the action asks for; its user reads the text."""
