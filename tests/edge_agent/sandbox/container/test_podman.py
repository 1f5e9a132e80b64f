"""What of the driver is Podman's own: the same API, by another program."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from edge_agent.model.activations import Cause, Gone

pytestmark = [pytest.mark.podman, pytest.mark.engines, pytest.mark.timeout(60)]

CODE = """
import sys, time
n = 0
def main(args):
    global n
    n += 1
    print("out", n)
    print("err", file=sys.stderr)
    time.sleep(args.get("s", 0))
    return {"n": n}
"""


async def test_an_action_runs_in_a_container_of_podman(podman_house: Any) -> None:
    house = podman_house
    assert house.factory.engine.facts.name == "Podman"
    sandbox = await house.ready(CODE)
    for n in (1, 2):
        ran = await house.run(sandbox)
        assert json.loads(ran.said.body) == {"n": n}
        texts = sorted(line[31:] for line in ran.logs)
        assert texts == ["stderr: err", f"stdout: out {n}"]
    ran = await house.run(sandbox, {"s": 30}, timeout_s=0.5)
    assert ran.said == Gone(Cause.TIMED_OUT)
    await asyncio.wait_for(sandbox.exited, 10)
    await sandbox.destroy()
    assert not house.engine.containers()


async def test_three_containers_of_podman_run_at_once(podman_house: Any) -> None:
    house = podman_house
    sandboxes = await asyncio.gather(*(house.ready(CODE) for _ in range(3)))
    runs = await asyncio.gather(*(house.run(s, {"s": 0.3}) for s in sandboxes))
    assert [json.loads(ran.said.body)["n"] for ran in runs] == [1, 1, 1]


async def test_a_container_of_podman_that_runs_out_of_memory_is_told_of(
    podman_house: Any,
) -> None:
    sandbox = await podman_house.ready("def main(a): return [0] * (500 << 20)")
    assert (await podman_house.run(sandbox)).said == Gone(Cause.OUT_OF_MEMORY)
