"""A backup of a node that works on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from controller.fleet.backup import fetch_backup
from controller.fleet.client import NO_RETRY, Client, OpenWhiskError
from controller.fleet.target import Target
from controller.fleet.wire import ActionBody
from edge_agent.model.entities import Exec
from tests.conftest import Agent
from tests.controller.fleet.conftest import Host

CODE = "def main(args):\n    return {'n': args.get('n')}\n"


def documents(place: Path) -> tuple[set[str], bytes]:
    """The ids of the records, and all that waits in the inbox."""
    database = sqlite3.connect(place)
    records = {row[0] for row in database.execute("SELECT id FROM activation")}
    inbox = b"".join(row[0] for row in database.execute("SELECT doc FROM inbox"))
    database.close()
    return records, inbox


@pytest.mark.timeout(40)
async def test_everything_accepted_before_a_backup_is_in_it(
    agent: Agent, tmp_path: Path
) -> None:
    target = Target(agent.url, agent.key, name="node", system_key=agent.system_key)
    place = tmp_path / "node.db"
    accepted: list[str] = []
    backed_up = asyncio.Event()

    async def load(client: Client) -> None:
        while not backed_up.is_set():
            accepted.append(await client.post("hello"))

    async with Client(target) as client:
        body = ActionBody(exec=Exec(kind="python:default", code=CODE))
        await client.put_action("hello", body)
        loads = [asyncio.create_task(load(client)) for _ in range(4)]
        while len(accepted) < 200:
            await asyncio.sleep(0.01)
        before = list(accepted)
        size = await fetch_backup(client, place)
        after = len(accepted)
        backed_up.set()
        await asyncio.gather(*loads)

    records, inbox = documents(place)
    assert after > len(before)  # the node served on
    assert [i for i in before if i not in records and i.encode() not in inbox] == []
    assert size == place.stat().st_size


async def test_what_breaks_off_leaves_no_file(host: Host, tmp_path: Path) -> None:
    host.hangs_up()
    place = tmp_path / "node.db"

    async with Client(host.target, retry=NO_RETRY) as client:
        with pytest.raises(OpenWhiskError, match="broke off"):
            await fetch_backup(client, place)

    assert list(tmp_path.iterdir()) == []
