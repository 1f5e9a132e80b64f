"""Dead letters on two real nodes: seen, replayed, dropped and followed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.local import LocalFleet

pytestmark = [pytest.mark.timeout(90), pytest.mark.usefixtures("fleet")]

PICKY = "def main(a):\n    return {'error': 'the valve is stuck'}\n"
Edgectl = Callable[..., Any]


@pytest.fixture
def letters(edgectl: Edgectl, fleet: LocalFleet, tmp_path: Path) -> list[str]:
    """One dead letter on each node: the ids, oldest first."""
    file = tmp_path / "picky.py"
    file.write_text(PICKY)
    retry = {"max": 1, "backoff_ms": 10, "on": ["application error"]}
    edgectl("action", "put", "picky", file)
    edgectl("trigger", "create", "t")
    made = edgectl(
        "rule", "create", "r", "t", "picky", "-a", "retry", json.dumps(retry)
    )
    assert made.code == 0, made
    for node in ("node1", "node2"):
        edgectl("trigger", "fire", "t", "-p", "n", 7, "--node", node)
    return [item["activationId"] for item in _dead(edgectl, 2)]


def test_dead_letters_are_listed_and_shown_with_every_run(
    edgectl: Edgectl, letters: list[str]
) -> None:
    listed = _dead(edgectl, 2)
    assert {item["node"] for item in listed} == {"node1", "node2"}
    assert {item["reason"] for item in listed} == {"failed"}
    assert [item["attempts"] for item in listed] == [2, 2]
    assert "the valve is stuck" in edgectl("events", "list").out
    shown = edgectl("events", "show", letters[0]).json
    assert shown["arguments"]["n"] == 7
    assert [run["error"] for run in shown["attempts"]] == ["the valve is stuck"] * 2
    record = edgectl("activation", "get", letters[0]).json
    annotations = {a["key"]: a["value"] for a in record["annotations"]}
    assert (annotations["attempts"], annotations["deadLetter"]) == (2, "failed")
    assert edgectl("events", "show", "0" * 32).code == 1


def test_a_replay_is_a_new_activation_that_names_the_old_one(
    edgectl: Edgectl, letters: list[str]
) -> None:
    replayed = edgectl("events", "replay", letters[0], "--json")
    assert replayed.code == 0, replayed
    (one,) = replayed.json
    assert one["replayOf"] == letters[0]
    listed = _dead(edgectl, 2)  # it fails again
    assert one["activationId"] in {item["activationId"] for item in listed}
    assert letters[0] not in {item["activationId"] for item in listed}
    record = edgectl("activation", "get", one["activationId"]).json
    annotations = {a["key"]: a["value"] for a in record["annotations"]}
    assert annotations["replayOf"] == letters[0]
    twice = edgectl("events", "replay", letters[0])
    assert (twice.code, twice.out) == (1, "")


def test_all_of_them_are_replayed_or_dropped_at_once(
    edgectl: Edgectl, letters: list[str], tmp_path: Path
) -> None:
    mended = tmp_path / "mended.py"
    mended.write_text("def main(a):\n    return {'n': a['n']}\n")
    edgectl("action", "put", "picky", mended)
    assert edgectl("events", "replay", "--all", "--reason", "poison").err == (
        "ok: replayed 0 event(s)\n"
    )
    replayed = edgectl("events", "replay", "--all", "--json").json
    assert {one["replayOf"] for one in replayed} == set(letters)
    _dead(edgectl, 0)
    dropped = edgectl("events", "drop", "--all", "--json").json
    assert dropped == {"dropped": 0}
    wrong = edgectl("events", "drop")
    assert (wrong.code, wrong.out) == (2, "")


def test_a_dropped_letter_is_gone_and_its_record_stays(
    edgectl: Edgectl, letters: list[str]
) -> None:
    assert edgectl("events", "drop", letters[1]).err == "ok: dropped 1 event(s)\n"
    assert [item["activationId"] for item in _dead(edgectl, 1)] == [letters[0]]
    assert edgectl("activation", "get", letters[1]).code == 0


@pytest.fixture
def tail() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "controller", "events", "tail", "-n", "3"]
    process = subprocess.Popen(
        [*command, "--json", "--node", "node1"], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_the_tail_tells_what_happens(
    edgectl: Edgectl, letters: list[str], tail: subprocess.Popen[str]
) -> None:
    time.sleep(2)  # until it follows
    edgectl("trigger", "fire", "t", "-p", "n", 8, "--node", "node1")
    out, _ = tail.communicate(timeout=20)
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in told] == ["accepted", "retry", "dead"]
    assert {one["node"] for one in told} == {"node1"}
    assert len({one["activation_id"] for one in told}) == 1


def _dead(edgectl: Edgectl, count: int) -> list[dict[str, Any]]:
    """The dead letters, once there are as many as are expected and nothing waits."""
    deadline = time.monotonic() + 15
    while True:
        listed: list[dict[str, Any]] = edgectl("events", "list", "--json").json
        if len(listed) == count and all(i["state"] == "dead" for i in listed):
            return sorted(listed, key=lambda item: item["accepted"])
        assert time.monotonic() < deadline, listed
        time.sleep(0.1)
