"""Starting the sandboxes of Python launchers by a fork server, others as before.

A cold start is a fork into fresh namespaces (`launchers/python_fork.py`). What of it
needs no knowledge of the action is done ahead for a few: parked children, which are in
their control groups. Where the kernel refuses what the server needs, or it dies again
and again, sandboxes are started by bubblewrap; `trouble` says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count

from edge_agent.sandbox import bwrap
from edge_agent.sandbox.base import SandboxSpec
from edge_agent.sandbox.bounds import Bounds
from edge_agent.sandbox.cgroup import Group
from edge_agent.sandbox.fork_server import ForkError, ForkServer, Parked
from edge_agent.sandbox.hold import ForkHold
from edge_agent.sandbox.runtimes import Runtime
from edge_agent.sandbox.starter import (
    PYTHON_FLAGS,
    NamespaceStarter,
    Started,
    environment,
    node_command,
)

#: So many failures in a row, and it is not tried again.
PATIENCE = 3
LAUNCHER = "python_fork.pyc"
#: In place of a launcher's name: what follows is a program.
EXEC = "exec"

#: Makes and joins the control group of a process, in a thread; None without groups.
Join = Callable[[str, int], Group | None]

_log = logging.getLogger(__name__)


class ForkStarter:
    """A Starter. `open` on the event loop, `close` when no sandbox is left.

    Args:
        runtime: the Python whose launchers are forked.
        arguments: of the bubblewrap around the server.
        otherwise: who starts what is not forked.
        join: see `Join`.
        identities: gives the user id of each child, 0 for the agent's.
        filter_path: the seccomp program, as seen inside.
        folder_bytes: the size of /tmp and of the work folder.
        spare: how many children are parked ahead.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        bubblewrap: str,
        arguments: list[str],
        otherwise: NamespaceStarter,
        join: Join,
        identity: Callable[[], int],
        filter_path: str,
        folder_bytes: int,
        spare: int,
    ) -> None:
        self.trouble = ""
        self._runtime = runtime
        self._bubblewrap = bubblewrap
        self._arguments = arguments
        self._otherwise = otherwise
        self._join = join
        self._identity = identity
        self._launch = (filter_path, str(folder_bytes))
        self._spare = spare
        self._server: ForkServer | None = None
        self._parked: list[Parked] = []
        self._numbers = count(1)
        self._starting = 0
        self._failures = 0
        self._network = True
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    def open(self, *, network: bool) -> None:
        """Start the server, and park the first children when it is up."""
        self._network = network
        self._refill()

    async def close(self) -> None:
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
        await self._discard_all()
        if self._server is not None:
            self._server.kill()
            await self._server.gone.wait()

    async def start(
        self,
        runtime: Runtime,
        spec: SandboxSpec,
        sandbox_id: str,
        *,
        bounds: Bounds,
        network: bool,
    ) -> Started:
        told = self._told(runtime, spec, bounds)
        if told and not self.trouble:
            self._starting += 1
            try:
                return await self._fork(spec, told, network=network)
            except ForkError as error:
                self._failed(error)
            finally:
                self._starting -= 1
                self._network = network
                self._refill()
        return await self._otherwise.start(
            runtime, spec, sandbox_id, bounds=bounds, network=network
        )

    def _told(
        self, runtime: Runtime, spec: SandboxSpec, bounds: Bounds
    ) -> tuple[str, ...]:
        """What a child becomes: our launcher, or another's by `exec`; empty: neither.

        Its namespaces stand ready, which is a third of a start of Node.js.
        """
        limits = bounds.as_argument()
        if not runtime.in_python:
            variables = environment(runtime, bwrap.ACTION, bwrap.TMP)
            told = [f"{name}={value}" for name, value in variables.items()]
            launcher = f"{bwrap.INSIDE}/{runtime.launcher}"
            command = node_command(runtime, spec, launcher, bwrap.ACTION)
            return (EXEC, limits, str(len(told)), *told, *command)
        if runtime.interpreter == self._runtime.interpreter:
            return (runtime.launcher, limits, *runtime.arguments)
        return ()

    async def _fork(
        self, spec: SandboxSpec, told: Sequence[str], *, network: bool
    ) -> Started:
        self._otherwise.refresh()
        parked = self._take(network=network) or await self._park(network=network)
        try:
            if parked.group is not None:
                parked.group.bound(memory_mb=spec.memory_mb)
            child = parked.release(told)
        except OSError as error:
            await self._discard(parked)
            raise ForkError(f"a parked sandbox is gone: {error}") from error
        self._failures = 0
        return Started(child, ForkHold(child, parked.group))

    def _take(self, *, network: bool) -> Parked | None:
        if self._server is None or self._server.dead:
            return None  # they are dead too, or about to be
        for parked in self._parked:
            if parked.network == network and parked.alive:
                self._parked.remove(parked)
                return parked
        return None

    async def _park(self, *, network: bool) -> Parked:
        parked = await self._running().park(self._identity(), network=network)
        loop = asyncio.get_running_loop()
        name = f"fork-{next(self._numbers)}"
        joining = loop.run_in_executor(None, self._join, name, parked.child.pid)
        try:
            parked.group = await asyncio.shield(joining)
        except BaseException:
            parked.group = await joining
            await self._discard(parked)
            raise
        return parked

    def _running(self) -> ForkServer:
        """The server; a new one where it has died.

        Raises:
            ForkError: it cannot be started.
        """
        if self._server is None or self._server.dead:
            filter_path, folder_bytes = self._launch
            command = [
                *(self._bubblewrap, "--args", "5", "--"),
                *(self._runtime.interpreter, *PYTHON_FLAGS),
                *(f"{bwrap.INSIDE}/{LAUNCHER}", bwrap.ACTION),
                *(folder_bytes, filter_path),
            ]
            variables = environment(self._runtime, bwrap.ACTION, bwrap.TMP)
            try:
                self._server = ForkServer.start(command, variables, self._arguments)
            except OSError as error:
                raise ForkError(f"the fork server does not start: {error}") from error
        return self._server

    def _failed(self, error: ForkError) -> None:
        self._failures += 1
        _log.warning("no sandbox by the fork server: %s", error)
        if self._failures >= PATIENCE:
            self.trouble = str(error)
            _log.warning("sandboxes are started by bubblewrap from here on")

    # Those ahead

    def _refill(self) -> None:
        """Park what is missing, unless somebody waits for a sandbox just now."""
        busy = self._refilling is not None and not self._refilling.done()
        if not (busy or self._closed or self._starting or self.trouble):
            self._refilling = asyncio.create_task(self._fill(), name="sandbox.park")

    async def _fill(self) -> None:
        stale = [p for p in self._parked if p.network != self._network or not p.alive]
        for parked in stale:
            self._parked.remove(parked)
            await self._discard(parked)
        try:
            while len(self._parked) < self._spare and not self._starting:
                self._parked.append(await self._park(network=self._network))
        except ForkError as error:
            self._failed(error)

    async def _discard_all(self) -> None:
        parked, self._parked = self._parked, []
        for each in parked:
            await self._discard(each)

    async def _discard(self, parked: Parked) -> None:
        hold = ForkHold(parked.child, parked.group)
        parked.discard()
        await asyncio.to_thread(hold.clean)
