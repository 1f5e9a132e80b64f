"""Starting the process of one sandbox: the command, its environment and its limits.

One more `Starter`, which starts no interpreter, is in `fork_starter.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge_agent import settings
from edge_agent.sandbox import bwrap
from edge_agent.sandbox.base import SandboxSpec
from edge_agent.sandbox.bounds import Bounds
from edge_agent.sandbox.hold import COOKIE, GroupHold, Hold, NamespaceHold
from edge_agent.sandbox.identity import Identities, become, find_setpriv
from edge_agent.sandbox.probe import Probe
from edge_agent.sandbox.runtimes import Runtime
from edge_agent.sandbox.spawn import ARGUMENTS, FILTER, TALK, Child, spawn

PYTHON_FLAGS = ("-I", "-S", "-B", "-X", "utf8")
_PATH = "/usr/local/bin:/usr/bin:/bin"
#: glibc would give every large block back to the kernel and fault it in anew, half of
#: a call with 1 MB. The launcher takes the names away before the action can see them.
_KEPT_BLOCKS = {
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
}


@dataclass(frozen=True, slots=True)
class Started:
    child: Child
    hold: Hold


class Starter(Protocol):
    """`start` raises OSError, and keeps the event loop for a millisecond at most.

    Where the hold has a control group already, all that is held is in it.
    """

    async def start(
        self,
        runtime: Runtime,
        spec: SandboxSpec,
        sandbox_id: str,
        *,
        bounds: Bounds,
        network: bool,
    ) -> Started: ...


class NamespaceStarter:
    """A bubblewrap around the interpreter."""

    def __init__(
        self,
        probe: Probe,
        sandbox: settings.Sandboxing,
        folders: bwrap.Folders,
        identities: Identities,
        refresh: Callable[[], None],
        *,
        filter_path: str = "",
    ) -> None:
        self._probe = probe
        self._sandbox = sandbox
        self._folders = folders
        self._identities = identities
        self._refresh = refresh
        self._filter_path = filter_path

    def refresh(self) -> None:
        """Not waited for: what is bound is the folder, and news in it are seen."""
        asyncio.get_running_loop().run_in_executor(None, self._refresh)

    async def start(
        self,
        runtime: Runtime,
        spec: SandboxSpec,
        sandbox_id: str,  # noqa: ARG002
        *,
        bounds: Bounds,
        network: bool,
    ) -> Started:
        self.refresh()
        command = _command(
            runtime,
            spec,
            bounds,
            launcher=f"{bwrap.INSIDE}/{runtime.launcher}",
            folder=bwrap.ACTION,
        )
        guard = self._identities.next()
        child = spawn(
            [*guard, self._probe.bwrap, "--args", str(ARGUMENTS), "--", *command],
            environment(runtime, bwrap.ACTION, bwrap.TMP),
            pipes=(*TALK, ARGUMENTS),
            opened={FILTER: self._filter_path} if self._filter_path else None,
        )
        self._release(child, runtime, network=network)
        return Started(child, NamespaceHold(child))

    def _release(self, child: Child, runtime: Runtime, *, network: bool) -> None:
        """Give bubblewrap its arguments: from here on it forks."""
        arguments = bwrap.arguments(
            self._probe,
            self._sandbox,
            runtime,
            self._folders,
            network=network,
            filter_fd=FILTER if self._filter_path else None,
        )
        os.write(child.ends[ARGUMENTS], "\0".join([*arguments, ""]).encode())
        child.close(ARGUMENTS)


class PlainStarter:
    """The interpreter by itself, in a folder of its own, as nobody when we are root."""

    def __init__(self, *, folder: Path, launchers: str, identities: Identities) -> None:
        self._folder = folder
        self._launchers = launchers
        self._identities = identities
        self._program = find_setpriv()

    async def start(
        self,
        runtime: Runtime,
        spec: SandboxSpec,
        sandbox_id: str,
        *,
        bounds: Bounds,
        network: bool,  # noqa: ARG002
    ) -> Started:
        folder = self._folder / sandbox_id
        tmp = folder / "tmp"
        user = self._identities.number()
        await asyncio.to_thread(_make_private, folder, tmp, user=user)
        command = _command(
            runtime,
            spec,
            # Outside of namespaces all processes of the user count, the agent's too.
            bounds if user else replace(bounds, processes=0),
            launcher=f"{self._launchers}/{runtime.launcher}",
            folder=str(folder),
        )
        variables = environment(runtime, str(folder), str(tmp))
        variables[COOKIE] = cookie = f"{self._folder.name}/{sandbox_id}/"
        child = spawn([*self._guard(user), *command], variables)
        return Started(child, GroupHold(child, cookie=cookie, folder=folder))

    def _guard(self, user: int) -> tuple[str, ...]:
        if not self._program:
            return ()
        who = (*become(user), "--bounding-set=-all") if user else ()
        return (self._program, *who, "--pdeathsig", "KILL", "--no-new-privs")


def _make_private(*folders: Path, user: int) -> None:
    for folder in folders:
        folder.mkdir(mode=0o700)
        if user:
            os.chown(folder, user, user)


def _command(
    runtime: Runtime, spec: SandboxSpec, bounds: Bounds, *, launcher: str, folder: str
) -> list[str]:
    if not runtime.in_python:
        return [*bounds.as_command(), *node_command(runtime, spec, launcher, folder)]
    arguments = [launcher, folder, bounds.as_argument(), *runtime.arguments]
    return [runtime.interpreter, *PYTHON_FLAGS, *arguments]


def node_command(
    runtime: Runtime, spec: SandboxSpec, launcher: str, folder: str
) -> list[str]:
    heap = f"--max-old-space-size={spec.memory_mb}"
    return [runtime.interpreter, heap, launcher, folder]


def environment(runtime: Runtime, home: str, tmp: str) -> dict[str, str]:
    modules = {} if runtime.in_python else {"NODE_PATH": ":".join(runtime.packages)}
    kept = _KEPT_BLOCKS if runtime.in_python else {}
    return {
        **kept,
        **modules,
        "PATH": _PATH,
        "HOME": home,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "PYTHONIOENCODING": "UTF-8",
    }
