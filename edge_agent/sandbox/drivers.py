"""Which driver runs what: processes, and containers where there is an engine.

- A kind that `container.kinds` gives an image runs in a container.
- The image of a blackbox action runs in a container where there is an engine and it is
  allowed. Otherwise, and where `runtimes.images` says so, as the kind whose work it is
  known to do. What neither can run still resolves, to itself: so its activation ends
  with a text about the image (C17) and not about a kind nobody named.
- Every other kind is a process.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

from edge_agent import settings
from edge_agent.model.kinds import KindEntry
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox.base import BLACKBOX, Sandbox, SandboxSpec
from edge_agent.sandbox.container.factory import ContainerFactory
from edge_agent.sandbox.container.images import NOT_ALLOWED, cannot_pull
from edge_agent.sandbox.manifest import kind_of_image
from edge_agent.sandbox.process import ProcessFactory

NO_ENGINE = "This node has no container engine."


class Drivers:
    """A SandboxFactory of both; `container` is the factory, or why there is none.

    `images` are patterns of images that the settings want to run as processes.
    """

    def __init__(
        self,
        process: ProcessFactory,
        container: ContainerFactory | str,
        *,
        images: dict[str, str],
    ) -> None:
        self.process = process
        self.container = container
        self.level = process.level
        self._images = images

    @classmethod
    async def open(
        cls, wanted: settings.Settings, *, response_limit: int = MEBIBYTE
    ) -> Self:
        """Raises SettingsError, as both do."""
        process = await ProcessFactory.open(
            wanted.sandbox,
            wanted.runtimes,
            response_limit=response_limit,
            data=Path.cwd() / wanted.data_dir,
        )
        try:
            container = await ContainerFactory.open(
                wanted.container,
                pool_mb=wanted.pool.memory_mb,
                response_limit=response_limit,
            )
        except BaseException:
            await process.close()
            raise
        return cls(process, container, images=wanted.runtimes.images)

    @property
    def engine(self) -> str:
        """Name, version and place of the engine, or why there is none."""
        if isinstance(self.container, str):
            return f"none: {self.container}"
        return str(self.container.engine.facts)

    @property
    def kinds(self) -> tuple[str, ...]:
        added = () if isinstance(self.container, str) else self.container.kinds
        return tuple(dict.fromkeys((*self.process.kinds, *added)))

    @property
    def entries(self) -> tuple[KindEntry, ...]:
        """A kind in a container stands after those of its family, or is its first."""
        if isinstance(self.container, str):
            return self.process.entries
        entries = {entry.kind: entry for entry in self.process.entries}
        families = {entry.family for entry in entries.values()}
        for kind in self.container.kinds:
            entry = KindEntry(kind, kind)
            first = entry.family not in families
            families.add(entry.family)
            standing = entries.get(kind)
            default = first or (standing is not None and standing.default)
            entries[kind] = KindEntry(kind, kind, default=default)
        return tuple(entries.values())

    @property
    def response_limit(self) -> int:
        """Of sandboxes that are made from now on."""
        return self.process.response_limit

    @response_limit.setter
    def response_limit(self, limit: int) -> None:
        self.process.response_limit = limit
        if not isinstance(self.container, str):
            self.container.response_limit = limit

    def share_network(self, *, tenants: int) -> bool:
        """See ProcessFactory; containers get their network by the same rule."""
        changed = self.process.share_network(tenants=tenants)
        if not isinstance(self.container, str):
            self.container.network = self.process.network
        return changed

    def resolve(self, kind: str) -> str | None:
        image = kind.removeprefix(BLACKBOX)
        if image == kind:
            return self._in_container(kind) or self.process.resolve(kind)
        if kind_of_image(image, self._images):
            return self.process.resolve(kind) or self._in_container(kind) or kind
        return self._in_container(kind) or self.process.resolve(kind) or kind

    def why_not(self, kind: str) -> str:
        return self.process.why_not(kind)

    async def create(self, spec: SandboxSpec) -> Sandbox:
        if self._in_container(spec.kind) and not isinstance(self.container, str):
            return await self.container.create(spec)
        if spec.kind.startswith(BLACKBOX):
            raise cannot_pull(spec.kind.removeprefix(BLACKBOX), self._why_not_in_it())
        return await self.process.create(spec)

    async def close(self) -> None:
        closing = [self.process.close()]
        if not isinstance(self.container, str):
            closing.append(self.container.close())
        await asyncio.gather(*closing)

    def _in_container(self, kind: str) -> str | None:
        return None if isinstance(self.container, str) else self.container.resolve(kind)

    def _why_not_in_it(self) -> str:
        return NO_ENGINE if isinstance(self.container, str) else NOT_ALLOWED
