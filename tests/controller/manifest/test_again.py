"""A node that is new gets what was applied to the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.manifest.again import apply_again
from controller.manifest.desired import Desired, WantedPackage
from controller.manifest.kept import keep, place_of
from tests.conftest import AgentFactory


@pytest.mark.blocks_loop("files are read at the start of a command")
async def test_only_the_hosts_that_are_named_get_it(
    agent_factory: AgentFactory, tmp_path: Path
) -> None:
    inventory = tmp_path / "fleet.yaml"
    agents = {"one": agent_factory(), "two": agent_factory()}
    hosts = "".join(
        f"    {name}: {{edge_agent_url: '{agent.url}', edge_agent_key: '{agent.key}'}}\n"
        for name, agent in agents.items()
    )
    inventory.write_text(f"all:\n  hosts:\n{hosts}")
    assert await apply_again(inventory) == []
    package = WantedPackage(name="p")
    desired = Desired(project="x", named=True, file="m.yaml", entities=[package])
    await asyncio.to_thread(keep, place_of(inventory), desired)

    (two,) = await apply_again(inventory, hosts=["two"])
    both = await apply_again(inventory)

    assert [str(change.key) for change in two.done] == ["package p"]
    assert [len(result.done) for result in both] == [1, 0]
