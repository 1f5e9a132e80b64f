"""What was applied, applied again: how a node that is new gets what the others have."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from controller.fleet.client import Client
from controller.fleet.target import Choice, choose
from controller.manifest.apply import NodeResult, apply_manifest
from controller.manifest.kept import place_of, read_kept


async def apply_again(
    inventory: Path, *, hosts: Collection[str] | None = None
) -> list[NodeResult]:
    """Apply an inventory's kept state to its nodes, or to those in `hosts`.

    Nothing is done where nothing was applied before: the list is empty then.

    Raises:
        TargetError: the inventory or a node's key is missing.
        KeptError: the kept state is broken.
    """
    wanted = read_kept(place_of(inventory))
    if not wanted:
        return []
    chosen = choose(Choice(fleet=inventory), environ=os.environ, home=Path.home())
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(target))
            for target in chosen.targets
            if hosts is None or target.name in hosts
        ]
        return await apply_manifest(clients, wanted)
