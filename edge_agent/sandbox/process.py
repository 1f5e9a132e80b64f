"""The process driver: sandboxes that are child processes, in namespaces or without.

`ProcessFactory.open` probes the kernel and the interpreters and prepares one folder
with what sandboxes may read. How one is started is the starter's business, how it is
talked to the proxy's; the factory joins the two and knows all that live.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self

import msgspec

from edge_agent import settings
from edge_agent.model.activations import Answer
from edge_agent.model.errors import SettingsError
from edge_agent.model.kinds import KindEntry
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox import bwrap
from edge_agent.sandbox.answers import (
    AnswerReader,
    AskingAnswerReader,
    BareAnswerReader,
)
from edge_agent.sandbox.base import Ran, SandboxError, SandboxSpec
from edge_agent.sandbox.bounds import Bounds
from edge_agent.sandbox.cgroup import Group, GroupMaker
from edge_agent.sandbox.folders import FactoryFolder, make_folder
from edge_agent.sandbox.fork_starter import ForkStarter
from edge_agent.sandbox.hold import Hold
from edge_agent.sandbox.interpreters import find_runtimes
from edge_agent.sandbox.packages import Packages, make_packages_folder
from edge_agent.sandbox.pip import Pip
from edge_agent.sandbox.probe import FULL, NAMESPACES, RLIMITS, Probe, probe_kernel
from edge_agent.sandbox.proxy import ProcessSandbox
from edge_agent.sandbox.runtimes import Runtime, Runtimes
from edge_agent.sandbox.spawn import keep_from_children, raise_descriptors
from edge_agent.sandbox.starter import Started, Starter
from edge_agent.sandbox.starters import make_starter

START_TIMEOUT_S = 30.0
START_LOGS_BYTES = 4096
_RANK = {RLIMITS: 0, NAMESPACES: 1, FULL: 2}
#: The limit that is only the last line lies so much higher.
_BESIDE_PROCESSES = 64

_log = logging.getLogger(__name__)


class Vanished(SandboxError):
    """It ended before it had said anything at all."""


class ProcessFactory:
    """A SandboxFactory. Made by `open`; `close` ends every sandbox it made.

    `network`: sandboxes made from now on share the host's.
    """

    def __init__(
        self,
        sandbox: settings.Sandboxing,
        *,
        probe: Probe,
        runtimes: Runtimes,
        folder: FactoryFolder,
        response_limit: int = MEBIBYTE,
    ) -> None:
        self.probe = probe
        self.runtimes = runtimes
        self.level = probe.level
        self.network = sandbox.network != "none"
        self._sandbox = sandbox
        self._folder = folder
        self.response_limit = response_limit
        self._numbers = count(1)
        self._live: dict[str, ProcessSandbox] = {}
        self._groups: GroupMaker | None = None
        self._packages: Packages | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._folders = bwrap.Folders(str(folder.launchers), str(folder.etc))
        self._starter: Starter

    @classmethod
    async def open(
        cls,
        sandbox: settings.Sandboxing,
        runtimes: settings.Runtimes,
        *,
        response_limit: int = MEBIBYTE,
        probe: Probe | None = None,
        data: Path | None = None,
    ) -> Self:
        """Probe, prepare, and clear what dead agents left.

        Args:
            sandbox: the settings' section.
            runtimes: the settings' section.
            response_limit: how long an answer may be.
            probe: what the kernel gives, where that is known.
            data: the agent's own folder.

        Raises:
            SettingsError: the machine gives less than `sandbox.minimum_level`, or a
                folder of the settings cannot be read by sandboxes.
        """
        folder = await asyncio.to_thread(make_folder)
        python = runtimes.python
        try:
            packages = await asyncio.to_thread(
                make_packages_folder, python, data or folder.path
            )
            kernel, found = await asyncio.gather(
                asyncio.to_thread(lambda: probe or probe_kernel()),
                asyncio.to_thread(
                    find_runtimes, runtimes, folder.launchers, packages=packages
                ),
            )
            _demand(sandbox.minimum_level, kernel)
            for finding in found.findings:
                _log.warning("kinds: %s", finding)
            factory = cls(
                sandbox,
                probe=kernel,
                runtimes=found,
                folder=folder,
                response_limit=response_limit,
            )
            await asyncio.to_thread(factory.set_up)
            factory.sell(packages, python)
            factory.start_ahead()
        except BaseException:
            await asyncio.to_thread(folder.remove)
            raise
        return factory

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.runtimes.kinds

    @property
    def folder(self) -> Path:
        """Where launchers, the small /etc and, at `rlimits`, work folders lie."""
        return self._folder.path

    @property
    def live(self) -> tuple[ProcessSandbox, ...]:
        return tuple(self._live.values())

    @property
    def entries(self) -> tuple[KindEntry, ...]:
        return self.runtimes.entries

    def resolve(self, kind: str) -> str | None:
        return self.runtimes.resolve(kind)

    def why_not(self, kind: str) -> str:
        return self.runtimes.why_not(kind)

    def share_network(self, *, tenants: int) -> bool:
        """Whether that changes anything: `auto` is the host's for one tenant."""
        wanted = self._sandbox.network
        network = tenants <= 1 if wanted == "auto" else wanted == "host"
        changed, self.network = network != self.network, network
        return changed

    async def create(self, spec: SandboxSpec) -> ProcessSandbox:
        runtime = self.runtimes.get(spec.kind)
        if runtime is None:
            raise SandboxError(f"no runtime for kind {spec.kind}")
        for _ in range(self._sandbox.parked):
            try:
                return await self._create(runtime, spec)
            except Vanished:  # parked ahead, maybe, and its end not noticed yet
                continue
        return await self._create(runtime, spec)

    async def _create(self, runtime: Runtime, spec: SandboxSpec) -> ProcessSandbox:
        sandbox_id = f"{os.getpid()}-{next(self._numbers)}"
        started = await self._start(runtime, spec, sandbox_id)
        sandbox = ProcessSandbox(
            sandbox_id,
            spec,
            level=self.level,
            child=started.child,
            hold=started.hold,
            answers=self._reader(runtime, sandbox_id),
            on_destroyed=self._forget,
        )
        self._live[sandbox_id] = sandbox
        try:
            await self._settle(sandbox, started.hold)
        except BaseException:
            await asyncio.shield(sandbox.destroy())
            raise
        return sandbox

    def _reader(self, runtime: Runtime, sandbox_id: str) -> AnswerReader:
        if runtime.hands_over:
            return BareAnswerReader(self.response_limit)
        if self._packages is None or runtime.family != "python":
            return AnswerReader(self.response_limit)
        ask = partial(self._on_question, sandbox_id, self._packages)
        return AskingAnswerReader(self.response_limit, ask)

    def _on_question(
        self, sandbox_id: str, packages: Packages, question: bytes
    ) -> None:
        answering = self._answer(self._live[sandbox_id], packages, question)
        task = asyncio.create_task(answering, name=f"sandbox.packages {sandbox_id}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(
        self, sandbox: ProcessSandbox, packages: Packages, question: bytes
    ) -> None:
        told = await packages.answer(question)
        sandbox.packages = told.get("packages", "")
        sandbox.reply(msgspec.json.encode(told) + b"\n")

    async def close(self) -> None:
        """Destroy every sandbox, then remove what was prepared."""
        if self._packages is not None:
            await self._packages.close()
        await asyncio.gather(*(sandbox.destroy() for sandbox in self.live))
        if isinstance(self._starter, ForkStarter):
            await self._starter.close()
        await asyncio.to_thread(self._clear)

    # Starting one

    async def _start(
        self, runtime: Runtime, spec: SandboxSpec, sandbox_id: str
    ) -> Started:
        try:
            return await self._starter.start(
                runtime,
                spec,
                sandbox_id,
                bounds=self._bounds(spec, runtime.beside_mb),
                network=self.network and spec.network != "none",
            )
        except OSError as error:
            raise SandboxError(f"{spec.kind} cannot be started: {error}") from error

    async def _settle(self, sandbox: ProcessSandbox, hold: Hold) -> None:
        """Wait for the launcher; bound its memory while it starts, before its init."""
        greeting = sandbox.greet(timeout_s=START_TIMEOUT_S, logs_bytes=START_LOGS_BYTES)
        if hold.group is None:
            ran = await self._join_meanwhile(sandbox, hold, greeting)
        else:
            ran = await greeting
        if not (isinstance(ran.said, Answer) and ran.said.ok):
            said = "; ".join(ran.logs) or str(ran.said)
            error = SandboxError if ran.logs else Vanished
            raise error(f"{sandbox.spec.kind} did not start: {said}")
        pids = hold.settle()
        if hold.group is None and self.level == FULL:
            sandbox.level = NAMESPACES  # and if full is demanded, then not at all
            if self._sandbox.minimum_level == FULL:
                raise SandboxError(f"{sandbox.spec.kind} has no control group")
        if hold.group is not None and pids:
            await asyncio.to_thread(hold.group.add, *pids)

    async def _join_meanwhile(
        self, sandbox: ProcessSandbox, hold: Hold, greeting: asyncio.Future[Ran]
    ) -> Ran:
        """The first process joins at once, which makes the next quick."""
        loop = asyncio.get_running_loop()
        joining = loop.run_in_executor(None, self._join, sandbox.id, sandbox.pid)
        try:
            ran = await greeting
        finally:
            hold.group = group = await asyncio.shield(joining)
            if group is not None:
                group.bound(memory_mb=sandbox.spec.memory_mb)
        return ran

    def _join(self, name: str, pid: int) -> Group | None:
        """A group with this process in it. In a thread: it may take 10 ms to join."""
        if self._groups is None:
            return None
        try:
            group = self._groups.make(name, processes=self._sandbox.processes)
            group.add(pid)
        except OSError as error:
            _log.warning("no control groups from here on: %s", error)
            self._groups = None
            return None
        return group

    def _bounds(self, spec: SandboxSpec, beside_mb: int) -> Bounds:
        """Memory is bounded by the control group, or else by what may be mapped.

        `beside_mb`: what an interpreter maps for itself.
        """
        grouped = self._groups is not None and self.probe.cgroups.memory is not None
        most = self._sandbox.processes
        if self._groups is not None and self.probe.cgroups.pids is not None:
            most += _BESIDE_PROCESSES  # the group counts, and tells
        return Bounds(
            open_files=self._sandbox.open_files,
            file_bytes=self._sandbox.tmp_mb << 20,
            processes=most if self.probe.user_namespace or self.probe.own_users else 0,
            data_bytes=0 if grouped else (spec.memory_mb + beside_mb) << 20,
        )

    # Upkeep

    def set_up(self) -> None:
        """Called by `open`, in a thread: it touches the disk."""
        keep_from_children()
        raise_descriptors()
        self._starter, self._folders = make_starter(
            self.probe, self._sandbox, self.runtimes, self._folder, join=self._join
        )
        if self.probe.cgroups.usable:
            self._groups = _prepared(
                GroupMaker(self.probe.cgroups, name=self.folder.name)
            )

    def sell(self, folder: Path | None, python: settings.PythonRuntime) -> None:
        """Called by `open`: from here on what actions require is built."""
        runtime = self.runtimes.forked
        if runtime is None:
            return
        build = Pip(
            runtime,
            python.wheels,
            probe=self.probe,
            sandbox=self._sandbox,
            folders=self._folders,
        )
        self._packages = Packages(
            folder or self._folder.path,
            kind=runtime.kind,
            build=build if folder else None,
            most_bytes=python.packages_mb << 20,
            in_use=lambda: {s.packages for s in self.live},
        )

    def start_ahead(self) -> None:
        """Called by `open`, on the event loop."""
        if isinstance(self._starter, ForkStarter):
            self._starter.open(network=self.network)

    def _forget(self, sandbox_id: str) -> None:
        self._live.pop(sandbox_id, None)

    def _clear(self) -> None:
        if self._groups is not None:
            self._groups.close()
        self._folder.remove()


def _prepared(groups: GroupMaker) -> GroupMaker | None:
    try:
        groups.prepare()
    except OSError as error:
        _log.warning("no control groups: %s", error)
        return None
    return groups


def _demand(minimum: str, probe: Probe) -> None:
    if _RANK[probe.level] >= _RANK[minimum]:
        return
    reasons = "; ".join(map(str, probe.findings))
    raise SettingsError(
        f"sandbox.minimum_level: this machine gives level {probe.level}, "
        f"{minimum} is demanded: {reasons}"
    )
