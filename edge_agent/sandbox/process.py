"""The process driver: sandboxes that are child processes, in namespaces or without.

`ProcessFactory.open` probes the kernel and the interpreters and prepares one folder
with what sandboxes may read: the launchers and a small /etc. At level `namespaces` a
sandbox writes only to its own tmpfs; at level `rlimits` it has a work folder in there.

A fork server (cold starts without an interpreter's start) will take the place of
`_start`: it too hands back a `Child` and a `Hold`, and the rest stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

from edge_agent import settings
from edge_agent.model.activations import Answer
from edge_agent.model.errors import SettingsError
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox import bwrap
from edge_agent.sandbox.base import SandboxError, SandboxSpec
from edge_agent.sandbox.cgroup import Group, GroupMaker
from edge_agent.sandbox.hold import COOKIE, GroupHold, Hold, NamespaceHold
from edge_agent.sandbox.probe import NAMESPACES, RLIMITS, Probe, probe_kernel
from edge_agent.sandbox.proxy import ProcessSandbox
from edge_agent.sandbox.runtimes import Runtime, Runtimes, find_runtimes
from edge_agent.sandbox.spawn import ARGUMENTS, Child, spawn
from edge_agent.sandbox.system import SystemFiles

START_TIMEOUT_S = 30.0
START_LOGS_BYTES = 4096
_RANK = {RLIMITS: 0, NAMESPACES: 1, "full": 2}
_PATH = "/usr/local/bin:/usr/bin:/bin"
_SETPRIV = "/usr/bin/setpriv"
#: Address space that an interpreter has beside what code allocates, in MB.
_BESIDE_MB = {"python": 64, "nodejs": 512}


@dataclass(frozen=True, slots=True)
class Held:
    """What the factory starts from; `network`: sandboxes share the host's."""

    probe: Probe
    runtimes: Runtimes
    sandbox: settings.Sandboxing
    folder: Path
    response_limit: int = MEBIBYTE
    network: bool = True


class ProcessFactory:
    """A SandboxFactory. Made by `open`; `close` ends every sandbox it made."""

    def __init__(self, held: Held) -> None:
        self.probe = held.probe
        self.runtimes = held.runtimes
        self.level = held.probe.level
        self.network = held.network
        self._held = held
        self._numbers = count(1)
        self._live: dict[str, ProcessSandbox] = {}
        self._etc = SystemFiles(held.folder / "etc")
        self._groups: GroupMaker | None = None
        self._folders = bwrap.Folders(
            launchers=str(held.folder / "launchers"),
            etc=str(self._etc.folder),
            etc_bound=self._etc.bound,
            system=bwrap.system_places(),
        )

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
        found = await asyncio.to_thread(_prepare, runtimes, probe)
        kernel, kinds, folder = found
        if _RANK[kernel.level] < _RANK[sandbox.minimum_level]:
            shutil.rmtree(folder, ignore_errors=True)
            raise SettingsError(_below(sandbox.minimum_level, kernel))
        factory = cls(
            Held(
                kernel,
                kinds,
                sandbox,
                folder,
                response_limit,
                network=sandbox.network != "none",
            )
        )
        await asyncio.to_thread(factory._set_up)
        return factory

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.runtimes.kinds

    @property
    def live(self) -> tuple[ProcessSandbox, ...]:
        return tuple(self._live.values())

    def resolve(self, kind: str) -> str | None:
        return self.runtimes.resolve(kind)

    async def create(self, spec: SandboxSpec) -> ProcessSandbox:
        runtime = self.runtimes.get(spec.kind)
        if runtime is None:
            raise SandboxError(f"no runtime for kind {spec.kind}")
        sandbox, hold = self._start(runtime, spec)
        try:
            ran = await sandbox.greet(
                timeout_s=START_TIMEOUT_S, logs_bytes=START_LOGS_BYTES
            )
        except asyncio.CancelledError:
            await asyncio.shield(sandbox.destroy())
            raise
        if not (isinstance(ran.said, Answer) and ran.said.ok):
            await sandbox.destroy()
            said = "; ".join(ran.logs) or str(ran.said)
            raise SandboxError(f"{spec.kind} did not start: {said}")
        self._limit_processes(hold.settle())
        return sandbox

    async def close(self) -> None:
        """Destroy every sandbox, then remove the folder."""
        await asyncio.gather(*(s.destroy() for s in self.live))
        if self._groups is not None:
            self._groups.close()
        await asyncio.to_thread(shutil.rmtree, self._held.folder, ignore_errors=True)

    # Starting one

    def _start(
        self, runtime: Runtime, spec: SandboxSpec
    ) -> tuple[ProcessSandbox, Hold]:
        sandbox_id = f"{os.getpid()}-{next(self._numbers)}"
        group = self._make_group(sandbox_id, spec)
        try:
            if self.level == RLIMITS:
                child, hold = self._start_plain(runtime, spec, sandbox_id, group)
            else:
                child, hold = self._start_in_namespaces(runtime, spec, group)
        except OSError as error:
            if group is not None:
                group.remove()
            raise SandboxError(f"{spec.kind} cannot be started: {error}") from error
        sandbox = ProcessSandbox(
            sandbox_id,
            spec,
            level=self.level,
            child=child,
            hold=hold,
            response_limit=self._held.response_limit,
            on_destroyed=self._forget,
        )
        self._live[sandbox_id] = sandbox
        return sandbox, hold

    def _start_in_namespaces(
        self, runtime: Runtime, spec: SandboxSpec, group: Group | None
    ) -> tuple[Child, Hold]:
        self._etc.refresh()
        launcher = f"{bwrap.INSIDE}/{runtime.launcher}"
        command = _command(runtime, spec, launcher, bwrap.ACTION)
        arguments = bwrap.arguments(
            self.probe,
            self._held.sandbox,
            runtime,
            self._folders,
            network=self.network,
        )
        child = spawn(
            [self.probe.bwrap, "--args", str(ARGUMENTS), *command],
            _environment(bwrap.ACTION, bwrap.TMP),
            with_arguments=True,
        )
        self._limit(child, runtime, spec, group)
        os.write(child.ends[ARGUMENTS], "\0".join([*arguments, ""]).encode())
        child.close(ARGUMENTS)
        return child, NamespaceHold(child, group)

    def _start_plain(
        self, runtime: Runtime, spec: SandboxSpec, sandbox_id: str, group: Group | None
    ) -> tuple[Child, Hold]:
        folder = self._held.folder / sandbox_id
        (folder / "tmp").mkdir(parents=True, mode=0o700)
        launcher = f"{self._folders.launchers}/{runtime.launcher}"
        command = _command(runtime, spec, launcher, str(folder))
        guard = [_SETPRIV, "--pdeathsig", "KILL", "--no-new-privs"]
        environment = _environment(str(folder), str(folder / "tmp"))
        environment[COOKIE] = cookie = f"{self._held.folder.name}/{sandbox_id}/"
        if not Path(_SETPRIV).exists():
            guard = []
        child = spawn([*guard, *command], environment)
        self._limit(child, runtime, spec, group)
        return child, GroupHold(child, cookie=cookie, folder=folder, group=group)

    # Limits

    def _make_group(self, sandbox_id: str, spec: SandboxSpec) -> Group | None:
        if self._groups is None:
            return None
        try:
            return self._groups.make(
                sandbox_id,
                memory_mb=spec.memory_mb,
                processes=self._held.sandbox.processes,
            )
        except OSError as error:
            raise SandboxError(f"no control group: {error}") from error

    def _limit(
        self, child: Child, runtime: Runtime, spec: SandboxSpec, group: Group | None
    ) -> None:
        """Before it has forked or run anything of the user's: children inherit."""
        sandbox = self._held.sandbox
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: sandbox.open_files,
            resource.RLIMIT_FSIZE: sandbox.tmp_mb << 20,
        }
        if group is not None:
            group.add(child.pid)
        if group is None or group.memory is None:
            beside = _BESIDE_MB.get(runtime.family, 64)
            limits[resource.RLIMIT_DATA] = (spec.memory_mb + beside) << 20
        for limit, value in limits.items():
            _set_limit(child.pid, limit, value)

    def _limit_processes(self, pid: int | None) -> None:
        """Counted in the sandbox's own user namespace, hence set from inside it on."""
        if pid is not None and self.probe.user_namespace:
            _set_limit(pid, resource.RLIMIT_NPROC, self._held.sandbox.processes)

    # Upkeep

    def _set_up(self) -> None:
        self._etc.build()
        if self.probe.cgroups.usable:
            groups = GroupMaker(self.probe.cgroups)
            with contextlib.suppress(OSError):
                groups.prepare()
                self._groups = groups

    def _forget(self, sandbox_id: str) -> None:
        self._live.pop(sandbox_id, None)


def _prepare(
    wanted: settings.Runtimes, probe: Probe | None
) -> tuple[Probe, Runtimes, Path]:
    folder = Path(tempfile.mkdtemp(prefix="edgewhisk-"))
    folder.chmod(0o711)
    launchers = folder / "launchers"
    launchers.mkdir(mode=0o755)
    return probe or probe_kernel(), find_runtimes(wanted, launchers), folder


def _below(minimum: str, probe: Probe) -> str:
    reasons = "; ".join(map(str, probe.findings)) or "level full is not built yet"
    return (
        f"sandbox.minimum_level: this machine gives level {probe.level}, "
        f"{minimum} is demanded: {reasons}"
    )


def _command(
    runtime: Runtime, spec: SandboxSpec, launcher: str, folder: str
) -> list[str]:
    if runtime.family == "nodejs":
        heap = f"--max-old-space-size={spec.memory_mb}"
        return [runtime.interpreter, heap, launcher, folder]
    flags = ["-I", "-S", "-B", "-X", "utf8"]
    return [runtime.interpreter, *flags, launcher, folder, *runtime.packages]


def _environment(home: str, tmp: str) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "HOME": home,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "PYTHONIOENCODING": "UTF-8",
    }


def _set_limit(pid: int, limit: int, value: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        _, hard = resource.prlimit(pid, limit)
        if hard not in {-1, resource.RLIM_INFINITY}:
            value = min(value, hard)
        resource.prlimit(pid, limit, (value, value))
