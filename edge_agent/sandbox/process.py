"""The process driver: sandboxes that are child processes, in namespaces or without.

`ProcessFactory.open` probes the kernel and the interpreters and prepares one folder
with what sandboxes may read. How one is started is the starter's business, how it is
talked to the proxy's; the factory joins the two and knows all that live.
"""

from __future__ import annotations

import asyncio
import logging
import os
from itertools import count
from pathlib import Path
from typing import Self

from edge_agent import settings
from edge_agent.model.activations import Answer
from edge_agent.model.errors import SettingsError
from edge_agent.model.kinds import KindEntry
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox import bwrap, seccomp
from edge_agent.sandbox.answers import AnswerReader, BareAnswerReader
from edge_agent.sandbox.base import Ran, SandboxError, SandboxSpec
from edge_agent.sandbox.bounds import Bounds
from edge_agent.sandbox.cgroup import Group, GroupMaker
from edge_agent.sandbox.folders import FactoryFolder, make_folder
from edge_agent.sandbox.fork_starter import ForkStarter
from edge_agent.sandbox.hold import Hold
from edge_agent.sandbox.identity import Identities, open_to_all
from edge_agent.sandbox.interpreters import find_runtimes
from edge_agent.sandbox.probe import FULL, NAMESPACES, RLIMITS, Probe, probe_kernel
from edge_agent.sandbox.proxy import ProcessSandbox
from edge_agent.sandbox.runtimes import Runtime, Runtimes
from edge_agent.sandbox.spawn import keep_from_children, raise_descriptors
from edge_agent.sandbox.starter import NamespaceStarter, PlainStarter, Started, Starter
from edge_agent.sandbox.system import SystemFiles

START_TIMEOUT_S = 30.0
START_LOGS_BYTES = 4096
#: The file of the seccomp filter, among the launchers.
FILTER = "seccomp.bpf"
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
        self._starter: Starter

    @classmethod
    async def open(
        cls,
        sandbox: settings.Sandboxing,
        runtimes: settings.Runtimes,
        *,
        response_limit: int = MEBIBYTE,
        probe: Probe | None = None,
    ) -> Self:
        """Probe, prepare, and clear what dead agents left.

        Raises:
            SettingsError: the machine gives less than `sandbox.minimum_level`.
        """
        folder = await asyncio.to_thread(make_folder)
        try:
            kernel, found = await asyncio.gather(
                asyncio.to_thread(lambda: probe or probe_kernel()),
                asyncio.to_thread(find_runtimes, runtimes, folder.launchers),
            )
            _demand(sandbox.minimum_level, kernel)
            factory = cls(
                sandbox,
                probe=kernel,
                runtimes=found,
                folder=folder,
                response_limit=response_limit,
            )
            await asyncio.to_thread(factory.set_up)
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
        reader = BareAnswerReader if runtime.hands_over else AnswerReader
        started = await self._start(runtime, spec, sandbox_id)
        sandbox = ProcessSandbox(
            sandbox_id,
            spec,
            level=self.level,
            child=started.child,
            hold=started.hold,
            answers=reader(self.response_limit),
            on_destroyed=self._forget,
        )
        self._live[sandbox_id] = sandbox
        try:
            await self._settle(sandbox, started.hold)
        except BaseException:
            await asyncio.shield(sandbox.destroy())
            raise
        return sandbox

    async def close(self) -> None:
        """Destroy every sandbox, then remove what was prepared."""
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
                group.bound_memory(sandbox.spec.memory_mb)
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
            processes=most if self.probe.user_namespace else 0,
            data_bytes=0 if grouped else (spec.memory_mb + beside_mb) << 20,
        )

    # Upkeep

    def set_up(self) -> None:
        """Called by `open`, in a thread: it touches the disk."""
        keep_from_children()
        raise_descriptors()
        launchers = str(self._folder.launchers)
        if self.level == RLIMITS:
            self._starter = PlainStarter(folder=self._folder.path, launchers=launchers)
        else:
            self._starter = self._namespace_starter(launchers)
        if self.probe.cgroups.usable:
            self._groups = _prepared(
                GroupMaker(self.probe.cgroups, name=self.folder.name)
            )

    def _namespace_starter(self, launchers: str) -> Starter:
        etc = SystemFiles(self._folder.etc)
        etc.build()
        roots = [root for runtime in self.runtimes.found for root in runtime.roots]
        nobody = self.probe.nobody and open_to_all([launchers, *roots])
        folders = bwrap.Folders(
            launchers=launchers,
            etc=str(etc.folder),
            etc_bound=etc.bound,
            system=bwrap.system_places(),
        )
        identities = Identities(wanted=nobody)
        starter = NamespaceStarter(
            self.probe,
            self._sandbox,
            folders,
            identities,
            etc.refresh,
            filter_path=self._write_filter(),
        )
        python = self.runtimes.forked
        if python is None or not self._sandbox.fork_server:
            return starter
        as_root = os.geteuid() == 0
        return ForkStarter(
            python,
            bubblewrap=self.probe.bwrap,
            arguments=bwrap.server_arguments(
                self.probe, python, folders, as_root=as_root
            ),
            otherwise=starter,
            join=self._join,
            identity=identities.number,
            filter_path=f"{bwrap.INSIDE}/{FILTER}"
            if self.probe.seccomp
            else os.devnull,
            folder_bytes=self._sandbox.tmp_mb << 20,
            spare=self._sandbox.parked,
        )

    def _write_filter(self) -> str:
        """Where the sandboxes find it; empty without one."""
        program = seccomp.assemble(os.uname().machine)
        if program is None or not self.probe.seccomp:
            return ""
        path = self._folder.launchers / FILTER
        path.write_bytes(program)
        path.chmod(0o644)
        return str(path)

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
