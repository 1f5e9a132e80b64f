"""QoS 1 messages while something breaks: none is lost, and few run twice.

A message is lost when the broker took it and no record of the node tells of it. It may
run again after a kill when it was under way, or had ended in the last 200 ms (its
record was not committed yet), or was committed and not acknowledged to the broker.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import FULL, SETTINGS, Node

pytestmark = [pytest.mark.broker, pytest.mark.timeout(600 if FULL else 90)]

COUNT, KILLS, RATE = (10_000, 20, 200.0) if FULL else (600, 3, 100.0)
DISK_FULL_S = 5.0 if FULL else 2.0
#: Receive Maximum: what a broker that went may send again.
IN_FLIGHT = 500
#: What a kill may repeat: the dispatcher's window (2 x 4 slots), what ended within the
#: 200 ms of lazy work and the commit after them, and what one commit holds that is not
#: acknowledged. A commit is given 200 ms, for a machine that does other things.
DISPATCHED, LAZY_S, COMMIT_S = 8, 0.2, 0.2
REPEATED_BY_KILL = DISPATCHED + round(RATE * (LAZY_S + 2 * COMMIT_S))
SETTLE_S = 120.0


@pytest.fixture
def node(agent_factory: Callable[..., Any], broker: Any, tmp_path: Path) -> Node:
    settings = SETTINGS.format(broker=broker.address)
    node = Node(agent_factory, settings, tmp_path / "data")
    node.start()
    return node


def dead_letters(node: Node) -> int:
    """Replay what died with the node; their number."""
    replayed = node.call("POST", "/edge/v1/events", system=True)["replayed"]
    node.settle(SETTLE_S)
    return len(replayed)


def test_killed_at_random_a_node_loses_nothing(
    node: Node, broker: Any, runs: Any, publish: Any, tell: Any
) -> None:
    begun = time.monotonic()
    node.set_up(runs)
    source = publish(broker.port, count=COUNT, rate=RATE)
    dice = random.Random(7)  # noqa: S311
    for kill in range(1, KILLS + 1):
        place = COUNT * (kill - dice.random()) / KILLS
        while source.sent < place:
            time.sleep(0.005)
        node.kill()
        node.start()
    source.wait(120)
    _until_all_came(node, COUNT)
    dead = dead_letters(node)
    lost = set(range(1, COUNT + 1)) - node.results()
    allowed = KILLS * REPEATED_BY_KILL
    tell(
        f"{KILLS} x kill -9 of the node",
        sent=COUNT,
        lost=len(lost),
        duplicates=runs.duplicates,
        allowed=allowed,
        dead=dead,
        seconds=round(time.monotonic() - begun),
    )
    assert not lost
    assert runs.duplicates <= allowed


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_goes_and_comes_back_costs_nothing(  # noqa: PLR0917
    node: Node, broker: Any, runs: Any, publish: Any, tell: Any, how: str
) -> None:
    begun, count = time.monotonic(), COUNT // 2
    node.set_up(runs)
    source = publish(broker.port, count=count, rate=RATE)
    for part in (1, 2):
        while source.sent < count * part // 3:
            time.sleep(0.005)
        getattr(broker, how)()
        time.sleep(0.3)
        broker.start()
    source.wait(120)
    # What mosquitto itself lost (it saves its queues now and then) never reached us.
    theirs = _until_all_came(node, count, patient=how == "stop")
    missing = set(range(1, count + 1)) - node.results()
    ours = set(runs.counts) - node.results()
    tell(
        f"2 x broker: {how}, start",
        sent=count,
        lost=len(ours) if how == "kill" else len(missing),
        duplicates=runs.duplicates,
        allowed=2 * IN_FLIGHT,
        dead=f"0 ({theirs} never sent on)" if theirs else 0,
        seconds=round(time.monotonic() - begun),
    )
    assert not ours
    assert how == "kill" or not missing
    assert runs.duplicates <= 2 * IN_FLIGHT


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True)
    if os.geteuid() != 0 or done.returncode:
        pytest.skip("needs root and mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_and_loses_nothing(  # noqa: PLR0917
    small_disk: Path,
    agent_factory: Callable[..., Any],
    broker: Any,
    runs: Any,
    publish: Any,
    tell: Any,
) -> None:
    begun, count = time.monotonic(), COUNT // 2
    settings = SETTINGS.format(broker=broker.address)
    node = Node(agent_factory, settings, small_disk / "data")
    node.start()
    node.set_up(runs)
    source = publish(broker.port, count=count, rate=RATE)
    while source.sent < count // 3:
        time.sleep(0.005)
    ballast = small_disk / "ballast"
    _fill(ballast)
    refused = _refusals(node, seconds=DISK_FULL_S)
    failure = node.report()["store"]["failure"]
    ballast.unlink()
    source.wait(120)
    _until_all_came(node, count)
    dead = dead_letters(node)
    lost = set(range(1, count + 1)) - node.results()
    tell(
        f"disk full for {DISK_FULL_S:.0f} s",
        sent=count,
        lost=len(lost),
        duplicates=runs.duplicates,
        allowed=IN_FLIGHT,
        dead=dead,
        seconds=round(time.monotonic() - begun),
    )
    assert refused, "a full disk accepted everything"
    assert failure is not None
    assert not lost
    assert runs.duplicates <= IN_FLIGHT
    assert node.agent.process.poll() is None


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _refusals(node: Node, *, seconds: float) -> int:
    """How many of the calls made for so long were answered by 503."""
    refused = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            node.call("POST", "/api/v1/namespaces/_/actions/note", {"n": 0})
        except urllib.error.HTTPError as error:
            assert error.code == 503, error  # noqa: PT017
            refused += 1
        time.sleep(0.05)
    return refused


def _until_all_came(node: Node, count: int, *, patient: bool = True) -> int:
    """Wait for the last message; how many did not come at all."""
    deadline = time.monotonic() + (SETTLE_S if patient else 5.0)
    while True:
        node.settle(SETTLE_S)
        missing = count - len(node.results() - {0})
        missing -= node.report()["store"]["dead_letters"]["count"]
        if missing <= 0 or time.monotonic() > deadline:
            return max(0, missing)
        time.sleep(0.5)
