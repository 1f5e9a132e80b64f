"""The end of a deployment: the nodes that are well get what was applied."""

from __future__ import annotations

from pathlib import Path

from controller.deploy.desired import bring_desired
from controller.deploy.events import HostRecap, Recap
from controller.manifest.desired import Desired, WantedPackage
from controller.manifest.kept import keep, place_of
from tests.conftest import Agent

WELL = HostRecap(ok=9, changed=1)
FAILED = HostRecap(failed=1, reason="no day for it")


def test_a_node_that_is_well_gets_it_and_what_it_lacks_is_its_reason(
    agent: Agent, tmp_path: Path
) -> None:
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text(
        "all:\n  hosts:\n"
        f"    new: {{edge_agent_url: '{agent.url}', edge_agent_key: '{agent.key}'}}\n"
        "    away: {edge_agent_url: 'http://127.0.0.1:1', edge_agent_key: 'a:b'}\n"
        "    bad: {edge_agent_url: 'http://127.0.0.1:1', edge_agent_key: 'a:b'}\n"
    )
    before = Recap({"new": WELL, "away": WELL, "bad": FAILED})
    said: list[str] = []
    assert bring_desired(inventory, said.append, before) == before
    desired = Desired(
        project="x", named=True, file="m.yaml", entities=[WantedPackage(name="p")]
    )
    keep(place_of(inventory), desired)

    after = bring_desired(inventory, said.append, before).hosts

    assert after["new"] == HostRecap(ok=9, changed=2)
    assert after["away"].failed == 1
    assert "serves, but not all that was applied is there" in str(after["away"].reason)
    assert after["bad"] == FAILED
    assert said == ["new: changed: created package p"]


def test_a_kept_state_that_is_broken_is_told_of_each_node(tmp_path: Path) -> None:
    inventory = tmp_path / "fleet.yaml"
    inventory.write_text("all: {hosts: {new: {edge_agent_key: 'a:b'}}}\n")
    place_of(inventory).write_text("[")

    after = bring_desired(inventory, print, Recap({"new": WELL}))

    assert not after.well
    assert "cannot be read" in str(after.hosts["new"].reason)
