"""The container driver's factory: containers of one engine, made, kept count of, ended.

Which container is whose stands in a label: the boot, the process and its start time. So
what a dead agent left is told from what another agent on this machine uses, and removed
at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

from edge_agent import settings
from edge_agent.model.errors import SettingsError
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox.base import (
    BLACKBOX,
    ActionToBlame,
    SandboxError,
    SandboxSpec,
)
from edge_agent.sandbox.container.document import Terms, container_document
from edge_agent.sandbox.container.engine import Engine, EngineError, find_engine
from edge_agent.sandbox.container.images import Images
from edge_agent.sandbox.container.reach import Reach, reach_of
from edge_agent.sandbox.container.sandbox import LEVEL, ContainerSandbox
from edge_agent.sandbox.kernel import read_text

LABEL = "org.edgewhisk.agent"
#: C17, and how engines say that an image has no such program.
NO_COMMAND = "executable file not found in image"
_NO_COMMAND = re.compile(
    r'executable file not found|exec: "|command that was not found'
)

_log = logging.getLogger(__name__)


class ContainerFactory:
    """A SandboxFactory. Made by `open`; `close` ends every container it made.

    `network`: containers made from now on are given the engine's network.
    """

    level = LEVEL

    def __init__(
        self,
        wanted: settings.Containers,
        engine: Engine,
        *,
        terms: Terms,
        owner: str,
        response_limit: int,
    ) -> None:
        self.engine = engine
        self.network = True
        self.response_limit = response_limit
        self._wanted = wanted
        self._terms = terms
        self._owner = owner
        self._images = Images(
            engine,
            allowed=wanted.images,
            pins=wanted.pins,
            pull=wanted.pull == "missing",
            pull_timeout_s=wanted.pull_timeout_s,
        )
        self._numbers = count(1)
        self._live: dict[str, ContainerSandbox] = {}

    @classmethod
    async def open(
        cls,
        wanted: settings.Containers,
        *,
        pool_mb: int,
        response_limit: int = MEBIBYTE,
    ) -> Self | str:
        """Find the engine and clear what dead agents left; or why there is none.

        Raises:
            SettingsError: the settings cannot be met by any engine.
        """
        if wanted.network == "host" or ":" in wanted.network:  # or of another container
            raise SettingsError(
                f"container.network: {wanted.network} is not a network of its own"
            )
        engine = await find_engine(wanted.socket)
        if isinstance(engine, str):
            return engine
        if engine.facts.rootless:
            await engine.close()
            return f"{engine.facts} runs without root: its containers cannot be reached"
        owner = await asyncio.to_thread(_ourselves)
        terms = Terms(wanted, pool_mb=pool_mb, labels={LABEL: owner})
        factory = cls(
            wanted, engine, terms=terms, owner=owner, response_limit=response_limit
        )
        try:
            await factory.sweep()
        except EngineError as error:
            await engine.close()
            return str(error)
        return factory

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._wanted.kinds)

    @property
    def live(self) -> tuple[ContainerSandbox, ...]:
        return tuple(self._live.values())

    def resolve(self, kind: str) -> str | None:
        """A kind that the settings give an image, or any image that they allow."""
        if kind in self._wanted.kinds:
            return kind
        image = kind.removeprefix(BLACKBOX)
        return kind if image != kind and self._images.allows(image) else None

    async def create(self, spec: SandboxSpec) -> ContainerSandbox:
        image = await self._image_of(spec.kind)
        sandbox_id = f"{os.getpid()}-c{next(self._numbers)}-{secrets.token_hex(3)}"
        network = self._wanted.network if self._has_network(spec) else "none"
        document = container_document(image, spec, self._terms, network=network)
        container = await self._create(f"edgewhisk-{sandbox_id}", document)
        sandbox = ContainerSandbox(
            sandbox_id,
            spec,
            engine=self.engine,
            container=container,
            response_limit=self.response_limit,
            on_destroyed=self._forget,
        )
        self._live[sandbox_id] = sandbox
        try:
            await sandbox.attach()
            sandbox.begin(await self._start(container, spec.kind))
        except BaseException:
            await asyncio.shield(sandbox.destroy())
            raise
        return sandbox

    async def close(self) -> None:
        await self._images.close()
        await asyncio.gather(*(sandbox.destroy() for sandbox in self.live))
        await self.engine.close()

    async def sweep(self) -> None:
        """Remove what agents that are no more have left; raises EngineError."""
        found = await self.engine.labelled(LABEL)
        owners = await asyncio.to_thread(
            lambda: {owner for owner in set(found.values()) if _lives(owner)}
        )
        orphans = [one for one, owner in found.items() if owner not in owners]
        if orphans:
            _log.info("removing %d containers that a dead agent left", len(orphans))
        await asyncio.gather(*map(self.engine.remove, orphans))

    # Making one

    def _has_network(self, spec: SandboxSpec) -> bool:
        return self.network and spec.network != "none"

    async def _image_of(self, kind: str) -> str:
        name = self._wanted.kinds.get(kind)
        if name is not None:
            return await self._images.find(name, trusted=True)
        return await self._images.find(kind.removeprefix(BLACKBOX), trusted=False)

    async def _create(self, name: str, document: dict[str, Any]) -> str:
        """An engine makes one to the end, whoever still waits for it."""
        making = asyncio.create_task(
            self.engine.create(name, document), name=f"container.create {name}"
        )
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.shield(self._unmake(making))
            raise

    async def _unmake(self, making: asyncio.Task[str]) -> None:
        with suppress(EngineError):
            await self.engine.remove(await making)

    async def _start(self, container: str, kind: str) -> Reach:
        try:
            await self.engine.start(container)
        except EngineError as error:
            if _NO_COMMAND.search(str(error)):
                image = self._wanted.kinds.get(kind) or kind.removeprefix(BLACKBOX)
                raise ActionToBlame(f"{NO_COMMAND} {image}") from error
            raise
        state = await self.engine.state(container)
        if not state.running:
            raise SandboxError(f"a container of {kind} ended as it began")
        return await asyncio.to_thread(
            lambda: reach_of(address=state.address, pid=state.pid)
        )

    def _forget(self, sandbox_id: str) -> None:
        self._live.pop(sandbox_id, None)


def _ourselves() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.getpid()}/{_start_time(os.getpid())}"


def _lives(owner: str) -> bool:
    """Whether the agent of a label runs; a process id may be another's by now."""
    boot, _, rest = owner.partition("/")
    pid, _, start = rest.partition("/")
    same_boot = read_text("/proc/sys/kernel/random/boot_id").strip() == boot
    return same_boot and pid.isdigit() and _start_time(int(pid)) == start


def _start_time(pid: int) -> str:
    """In the kernel's ticks; empty for a process that is gone."""
    _, _, rest = read_text(f"/proc/{pid}/stat").rpartition(") ")
    return rest.split()[19] if rest else ""
